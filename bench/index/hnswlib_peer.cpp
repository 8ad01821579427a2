#include "hnswlib_peer.h"

#include <hnswlib/hnswlib.h>

#include <atomic>
#include <functional>
#include <thread>

namespace halo::bench {
namespace {

// One counter for all threads, as in hnswlib's Python binding.
void parallel_rows(std::size_t begin, std::size_t end, std::size_t threads,
                   const std::function<void(std::size_t)>& body) {
  std::atomic<std::size_t> next{begin};
  const auto work = [&] {
    for (std::size_t i = next++; i < end; i = next++) body(i);
  };
  std::vector<std::thread> helpers;
  for (std::size_t t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  for (auto& helper : helpers) helper.join();
}

}  // namespace

struct HnswlibPeer::Impl {
  Impl(const MatrixView& vectors, std::size_t M, std::size_t ef_construction)
      : space(vectors.cols), index(&space, vectors.rows, M, ef_construction) {}
  hnswlib::L2Space space;
  hnswlib::HierarchicalNSW<float> index;
};

HnswlibPeer::HnswlibPeer(const MatrixView& vectors, std::size_t M, std::size_t ef_construction,
                         std::size_t threads)
    : impl_(std::make_unique<Impl>(vectors, M, ef_construction)) {
  impl_->index.addPoint(vectors.row(0), 0);
  parallel_rows(1, vectors.rows, threads,
                [&](std::size_t i) { impl_->index.addPoint(vectors.row(i), i); });
}

HnswlibPeer::~HnswlibPeer() = default;

std::vector<std::uint32_t> HnswlibPeer::search(const MatrixView& queries, std::size_t k,
                                               std::size_t ef, std::size_t threads) {
  impl_->index.setEf(ef);
  std::vector<std::uint32_t> rows(queries.rows * k, UINT32_MAX);
  parallel_rows(0, queries.rows, threads, [&](std::size_t q) {
    auto found = impl_->index.searchKnn(queries.row(q), k);
    for (std::size_t i = found.size(); i-- > 0; found.pop()) {
      rows[q * k + i] = static_cast<std::uint32_t>(found.top().second);
    }
  });
  return rows;
}

}  // namespace halo::bench
