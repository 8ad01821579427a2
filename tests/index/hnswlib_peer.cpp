#include "index/hnswlib_peer.h"

#include <algorithm>
#include <memory>

// hnswlib's insertion prefetches past the end of its lists, which a sanitizer would report.
#if defined(__SANITIZE_ADDRESS__)
#define NO_MANUAL_VECTORIZATION
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define NO_MANUAL_VECTORIZATION
#endif
#endif
#include <hnswlib/hnswlib.h>

namespace halo::test {

std::vector<std::vector<std::size_t>> hnswlib_nearest(Metric metric, const MatrixView& vectors,
                                                      std::size_t M, std::size_t ef_construction,
                                                      const MatrixView& queries, std::size_t k,
                                                      std::size_t ef) {
  std::unique_ptr<hnswlib::SpaceInterface<float>> space;
  if (metric == Metric::kL2) {
    space = std::make_unique<hnswlib::L2Space>(vectors.cols);
  } else {
    space = std::make_unique<hnswlib::InnerProductSpace>(vectors.cols);
  }
  hnswlib::HierarchicalNSW<float> index(space.get(), vectors.rows, M, ef_construction);
  for (std::size_t i = 0; i < vectors.rows; ++i) index.addPoint(vectors.row(i), i);
  index.setEf(ef);
  std::vector<std::vector<std::size_t>> results;
  for (std::size_t q = 0; q < queries.rows; ++q) {
    auto found = index.searchKnn(queries.row(q), k);
    std::vector<std::size_t> row;
    for (; !found.empty(); found.pop()) row.push_back(found.top().second);
    std::reverse(row.begin(), row.end());
    results.push_back(std::move(row));
  }
  return results;
}

}  // namespace halo::test
