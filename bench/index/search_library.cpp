#include "search_library.h"

#include <map>
#include <stdexcept>

#include "halo/core/executor.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"
#include "halo/integration/io/snapshot_io.h"
#include "support/one_by_one.h"

namespace halo::bench {
namespace {

const Executor& executor(std::size_t threads) {
  static std::map<std::size_t, std::unique_ptr<Executor>> executors;
  auto& slot = executors[threads];
  if (!slot) slot = std::make_unique<Executor>(threads);
  return *slot;
}

class Halo : public SearchLibrary {
 public:
  explicit Halo(std::optional<CodeKind> codes) : codes_(codes) {}

  void build(const DataSet& data, std::size_t threads) override {
    snapshot_.reset();
    BuildOptions options;
    options.metric = data.metric;
    options.M = kM;
    options.ef_construction = kEfConstruction;
    options.codes = codes_;
    VectorIndex index(data.vectors.cols(), options);
    index.add(data.vectors, executor(threads));
    snapshot_ = index.seal(executor(threads));
  }

  std::vector<std::int64_t> search(const MatrixView& queries, std::size_t ef,
                                   std::size_t threads) override {
    return rows_of(
        search_one_by_one(*snapshot_, queries, {.k = kNeighbours, .ef = ef}, executor(threads)));
  }
  std::vector<std::int64_t> search_together(const MatrixView& queries, std::size_t ef,
                                            std::size_t threads) override {
    return rows_of(
        search_batch(*snapshot_, queries, {.k = kNeighbours, .ef = ef}, executor(threads)));
  }

  void save(const std::filesystem::path& path) const override {
    io::BundleWriter bundle;
    io::write_snapshot(bundle, *snapshot_);
    bundle.write(path);
  }
  void load(const DataSet&, const std::filesystem::path& path) override {
    snapshot_.reset();
    snapshot_ = io::read_snapshot(io::BundleReader(path));
  }
  std::size_t exact_copy_bytes() const override {
    return snapshot_->codes().kind() == CodeKind::kF32 ? 0 : snapshot_->memory_usage().vectors;
  }

 private:
  std::vector<std::int64_t> rows_of(const SearchResults& results) const {
    std::vector<std::int64_t> rows(results.neighbours.size(), -1);
    for (std::size_t q = 0; q < results.found.size(); ++q) {
      const auto found = results.of(q);
      for (std::size_t i = 0; i < found.size(); ++i) {
        rows[q * kNeighbours + i] = snapshot_->id(found[i].node);
      }
    }
    return rows;
  }

  std::optional<CodeKind> codes_;
  std::shared_ptr<const GraphSnapshot> snapshot_;
};

}  // namespace

std::vector<std::string> library_names() {
  return {
      "hnswlib",
#ifdef HALO_BENCH_FAISS
      "faiss_hnsw", "faiss_hnsw_sq8",
#endif
      "halo_f32",   "halo_auto",
  };
}

std::unique_ptr<SearchLibrary> make_library(std::string_view name) {
  if (name == "hnswlib") return make_hnswlib();
#ifdef HALO_BENCH_FAISS
  if (name == "faiss_hnsw") return make_faiss(false);
  if (name == "faiss_hnsw_sq8") return make_faiss(true);
#endif
  if (name == "halo_f32") return std::make_unique<Halo>(CodeKind::kF32);
  if (name == "halo_auto") return std::make_unique<Halo>(std::nullopt);
  throw std::invalid_argument("no library " + std::string(name));
}

}  // namespace halo::bench
