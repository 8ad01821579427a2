// faiss's HNSW over float32 and over its 8-bit scalar quantiser. Debian builds faiss for baseline
// x86-64 and without its AVX2 variant, so it is a weaker rival than faiss can be.
#include <faiss/IndexHNSW.h>
#include <faiss/index_io.h>
#include <omp.h>

#include "search_library.h"

namespace halo::bench {
namespace {

faiss::MetricType metric_of(const DataSet& data) {
  return data.metric == Metric::kL2 ? faiss::METRIC_L2 : faiss::METRIC_INNER_PRODUCT;
}

// faiss reads rows without padding.
std::vector<float> dense(const MatrixView& rows) {
  std::vector<float> values;
  values.reserve(rows.rows * rows.cols);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    values.insert(values.end(), rows.row(i), rows.row(i) + rows.cols);
  }
  return values;
}

class Faiss : public SearchLibrary {
 public:
  explicit Faiss(bool scalar_quantiser) : scalar_quantiser_(scalar_quantiser) {}

  void build(const DataSet& data, std::size_t threads) override {
    index_.reset();
    const int dim = static_cast<int>(data.vectors.cols());
    if (scalar_quantiser_) {
      index_ = std::make_unique<faiss::IndexHNSWSQ>(dim, faiss::ScalarQuantizer::QT_8bit,
                                                    static_cast<int>(kM), metric_of(data));
    } else {
      index_ = std::make_unique<faiss::IndexHNSWFlat>(dim, static_cast<int>(kM), metric_of(data));
    }
    index_->hnsw.efConstruction = static_cast<int>(kEfConstruction);
    omp_set_num_threads(static_cast<int>(threads));
    const auto rows = static_cast<faiss::Index::idx_t>(data.vectors.rows());
    const std::vector<float> values = dense(data.vectors);
    index_->train(rows, values.data());
    index_->add(rows, values.data());
  }

  std::vector<std::int64_t> search(const MatrixView& queries, std::size_t ef,
                                   std::size_t threads) override {
    omp_set_num_threads(static_cast<int>(threads));
    index_->hnsw.efSearch = static_cast<int>(ef);
    if (queries.data != seen_) {
      queries_ = dense(queries);
      seen_ = queries.data;
    }
    std::vector<faiss::Index::idx_t> labels(queries.rows * kNeighbours);
    std::vector<float> distances(labels.size());
    index_->search(static_cast<faiss::Index::idx_t>(queries.rows), queries_.data(),
                   static_cast<faiss::Index::idx_t>(kNeighbours), distances.data(), labels.data());
    return {labels.begin(), labels.end()};
  }

  void save(const std::filesystem::path& path) const override {
    faiss::write_index(index_.get(), path.c_str());
  }
  void load(const DataSet&, const std::filesystem::path& path) override {
    index_.reset(dynamic_cast<faiss::IndexHNSW*>(faiss::read_index(path.c_str())));
  }

 private:
  bool scalar_quantiser_;
  std::unique_ptr<faiss::IndexHNSW> index_;
  std::vector<float> queries_;
  const float* seen_ = nullptr;
};

}  // namespace

std::unique_ptr<SearchLibrary> make_faiss(bool scalar_quantiser) {
  return std::make_unique<Faiss>(scalar_quantiser);
}

}  // namespace halo::bench
