// Builds an HNSW graph from vectors; hnswlib does the linking. The writer's side of an index: add
// vectors, then seal() them into an immutable GraphSnapshot that is searched, refined and saved.
//
// Thread-safety: one thread at a time; the work itself runs on the executor.
// Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW
// graphs", 2018.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/metric.h"

namespace halo {

struct BuildOptions {
  Metric metric = Metric::kL2;
  /// Links a node gets per layer (2 M in layer 0), 2 to 256. Raising it costs memory (8 M bytes a
  /// vector) and build and search time; it helps recall on high-dimensional data.
  std::size_t M = 16;
  /// Candidates looked at while linking, at least 1. Raising it costs build time, about linearly;
  /// it buys graph quality.
  std::size_t ef_construction = 200;
  /// Decides the nodes' levels.
  std::uint64_t seed = 100;
  /// The same graph for the same vectors, calls of add() and seed, whatever the executor's threads:
  /// rows choose their links in small batches on all threads and are linked in the order they came.
  /// Costs a tenth of the time on one thread; two build 1.6 to 1.8 times as fast as that.
  bool deterministic = false;
  /// What links are found on and searches walk on (vector_codes.h). int8 reads a quarter of the
  /// bytes, bf16 half; both cost that much memory beside the vectors. Without a value the index
  /// chooses: links on int8 codes where a first add() of 10,000 vectors or more loses nothing, or
  /// little on a sample; searches on the smallest codes that lose at most .002 of recall on a
  /// sample of the index's own vectors.
  std::optional<CodeKind> codes = std::nullopt;
  /// Bytes that the index may take while it is built and sealed, 0 for no limit. What would take
  /// more by estimate_growth() (memory_estimate.h) is refused with kMemoryLimit before anything is
  /// allocated. The caller's vectors and snapshots of the past are not counted.
  std::size_t memory_limit = 0;
  /// What sealed snapshots keep the vectors as, where exact distances come from
  /// (GraphSnapshot::with_vectors_as). bf16 and f16 round them: half the memory. int8 is refused
  /// where it would lose something. Without a value: int8 where searches walk on codes that lose
  /// nothing (10,000 vectors or more that arrived as bytes, under l2), f32 otherwise.
  std::optional<CodeKind> stored = std::nullopt;

  void validate() const;  ///< throws kInvalidArgument
};

class VectorIndex {
 public:
  /// An empty index of vectors of `dim` floats, 1 to 65,536.
  VectorIndex(std::size_t dim, const BuildOptions& options);
  /// Goes on where a snapshot is, also one that came from a file, with its metric, M,
  /// ef_construction, seed and codes: add() links to what is there. Throws kOutOfMemory. O(vectors
  /// + links).
  static VectorIndex resume(const GraphSnapshot& snapshot, const Executor& executor,
                            bool deterministic = false);
  ~VectorIndex();
  VectorIndex(VectorIndex&&) noexcept;
  VectorIndex& operator=(VectorIndex&&) noexcept;

  /// Adds vectors [n, dim] under `ids` [n]; without ids, under the row numbers size() ... size() +
  /// n - 1. All or nothing: after any error, also a stop or a failed allocation in the midst of
  /// linking, the index is exactly what it was. O(n log(size) ef_construction M dim). Throws
  /// kDimensionMismatch, kNonFinite (NaN, infinity, or so long that distances would overflow),
  /// kZeroVector (cosine), kDuplicateId, kInvalidArgument (negative id, other number of ids),
  /// kCancelled, kOutOfMemory, kMemoryLimit.
  void add(const MatrixView& vectors, std::span<const Id> ids, const Executor& executor,
           const Job& job = {});
  void add(const MatrixView& vectors, const Executor& executor, const Job& job = {});

  std::size_t size() const;
  std::size_t dim() const;
  const BuildOptions& options() const;
  bool contains(Id id) const;

  /// The graph so far as a snapshot: links copied out of hnswlib, unreachable nodes repaired, nodes
  /// renumbered in a locality order. The builder may go on afterwards. Throws kEmpty for an index
  /// without vectors. O(links + vectors).
  std::shared_ptr<const GraphSnapshot> seal(const Executor& executor, const Job& job = {}) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo
