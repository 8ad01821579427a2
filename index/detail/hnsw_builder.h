// The adapter to hnswlib, which links the graph; the only file of halo that knows it is
// hnsw_builder.cpp.
//
// Points are rows 0 .. size() - 1 in the order they were inserted. hnswlib's own addPoint is not
// used: it draws levels from a generator that races, registers a point before its memory is there,
// and cannot be undone. Insertion here takes precomputed levels, allocates everything it can before
// it starts, and journals the links of older points so that a failure restores the graph exactly.
//
// Thread-safety: one thread at a time; insert() runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/metric.h"
#include "halo/index/vector_codes.h"

namespace halo::detail {

class HnswBuilder {
 public:
  /// Links by distances between `codes` of the vectors, which are kept beside the codes. int8 codes
  /// take their range from the first vectors inserted, and another from all of them when later ones
  /// do not fit in it.
  HnswBuilder(Metric metric, std::size_t dim, std::size_t M, std::size_t ef_construction,
              CodeKind codes = CodeKind::kF32);
  ~HnswBuilder();
  HnswBuilder(const HnswBuilder&) = delete;
  HnswBuilder& operator=(const HnswBuilder&) = delete;

  /// Inserts vectors [n, dim] with the given levels [n]; all or nothing. `in_batches`: rows choose
  /// their links a batch at a time, for one graph at any number of threads. Throws kNonFinite,
  /// kZeroVector, kCancelled, kOutOfMemory; the graph is then byte for byte what it was.
  void insert(const MatrixView& vectors, std::span<const std::uint8_t> levels, bool in_batches,
              const Executor& executor, const Job& job);

  /// Goes on where a snapshot is: row i is its node i. For an empty builder of the snapshot's
  /// metric, dimension and M. A list that a repair made longer than hnswlib's limit keeps its
  /// nearest. Throws kOutOfMemory; the builder is then empty. O(vectors + links).
  void restore(const GraphSnapshot& snapshot, const Executor& executor);

  std::size_t size() const;
  std::size_t capacity() const;  ///< rows that there is room for
  /// The stored vector: normalised under kCosine, zero-padded to padded_width(dim) floats.
  const float* vector(std::size_t row) const;
  CodeKind codes() const;
  std::size_t level(std::size_t row) const;
  /// The linked rows of `row` in `layer` <= level(row), in hnswlib's order.
  std::span<const std::uint32_t> links(std::size_t row, std::size_t layer) const;
  std::uint32_t entry_point() const;  ///< size() must not be 0
  std::size_t top_layer() const;      ///< size() must not be 0

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo::detail
