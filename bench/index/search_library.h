// One library's index over one data set: what the benchmark compares.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "halo/core/matrix_view.h"
#include "support/data_sets.h"

namespace halo::bench {

inline constexpr std::size_t kM = 16, kEfConstruction = 200, kNeighbours = 10;

class SearchLibrary {
 public:
  virtual ~SearchLibrary() = default;
  virtual void build(const DataSet& data, std::size_t threads) = 0;
  /// Row numbers, queries x kNeighbours, nearest first; -1 for none.
  virtual std::vector<std::int64_t> search(const MatrixView& queries, std::size_t ef,
                                           std::size_t threads) = 0;
  /// The same with whatever a library does for queries that come together.
  virtual std::vector<std::int64_t> search_together(const MatrixView& queries, std::size_t ef,
                                                    std::size_t threads) {
    return search(queries, ef, threads);
  }
  /// A built index in a file, so that a run of searches need not build.
  virtual void save(const std::filesystem::path& path) const = 0;
  virtual void load(const DataSet& data, const std::filesystem::path& path) = 0;
  /// Bytes that only serve exact distances of the results; 0 where the walk needs them too.
  virtual std::size_t exact_copy_bytes() const { return 0; }
};

/// The libraries of this build: hnswlib, halo_f32, halo_auto and, where it was found, faiss_hnsw
/// and faiss_hnsw_sq8.
std::vector<std::string> library_names();
std::unique_ptr<SearchLibrary> make_library(std::string_view name);

std::unique_ptr<SearchLibrary> make_hnswlib();
std::unique_ptr<SearchLibrary> make_faiss(bool scalar_quantiser);

}  // namespace halo::bench
