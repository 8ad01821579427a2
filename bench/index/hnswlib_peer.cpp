// hnswlib alone, compiled for this machine, as a program without halo would use it.
#include <hnswlib/hnswlib.h>

#include <atomic>
#include <functional>
#include <thread>

#include "search_library.h"

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

class Hnswlib : public SearchLibrary {
 public:
  void build(const DataSet& data, std::size_t threads) override {
    index_.reset();
    set_space(data);
    const Matrix& vectors = data.vectors;
    index_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(space_.get(), vectors.rows(), kM,
                                                               kEfConstruction);
    index_->addPoint(vectors.row(0), 0);
    parallel_rows(1, vectors.rows(), threads,
                  [&](std::size_t i) { index_->addPoint(vectors.row(i), i); });
  }

  std::vector<std::int64_t> search(const MatrixView& queries, std::size_t ef,
                                   std::size_t threads) override {
    index_->setEf(ef);
    std::vector<std::int64_t> rows(queries.rows * kNeighbours, -1);
    parallel_rows(0, queries.rows, threads, [&](std::size_t q) {
      auto found = index_->searchKnn(queries.row(q), kNeighbours);
      for (std::size_t i = found.size(); i-- > 0; found.pop()) {
        rows[q * kNeighbours + i] = static_cast<std::int64_t>(found.top().second);
      }
    });
    return rows;
  }

  void save(const std::filesystem::path& path) const override { index_->saveIndex(path.string()); }
  void load(const DataSet& data, const std::filesystem::path& path) override {
    index_.reset();
    set_space(data);
    index_ = std::make_unique<hnswlib::HierarchicalNSW<float>>(space_.get(), path.string());
  }

 private:
  void set_space(const DataSet& data) {
    if (data.metric == Metric::kL2) {
      space_ = std::make_unique<hnswlib::L2Space>(data.vectors.cols());
    } else {
      space_ = std::make_unique<hnswlib::InnerProductSpace>(data.vectors.cols());
    }
  }
  std::unique_ptr<hnswlib::SpaceInterface<float>> space_;
  std::unique_ptr<hnswlib::HierarchicalNSW<float>> index_;
};

}  // namespace

std::unique_ptr<SearchLibrary> make_hnswlib() { return std::make_unique<Hnswlib>(); }

}  // namespace halo::bench
