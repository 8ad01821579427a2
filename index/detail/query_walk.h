// What every walk for a query begins with: the query as the index stores vectors, scorers for it,
// and the way down to layer 0.
//
// Thread-safety: one memory a thread. Private to the index room.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "halo/core/aligned_memory.h"
#include "halo/index/detail/row_scorer.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {

struct QueryMemory {
  AlignedBuffer<float> vector, shifted;
  QueryBuffer codes, kept;
};

struct PreparedQuery {
  RowScorer walk;      ///< on the snapshot's codes, where it has any
  RowScorer exact;     ///< on the vectors as they are kept, where they are
  bool coded = false;  ///< the two differ
};

/// Points into `memory`, which must outlive it. Throws kNonFinite and kZeroVector; the query's
/// dimension is checked already.
PreparedQuery prepare_query(const GraphSnapshot& snapshot, std::span<const float> query,
                            bool exact_walk, QueryMemory& memory);

/// Exact distances to the vectors as `snapshot` keeps them (by its codes' distances where it gave
/// them up). `stored`: the query as the metric stores it, 64-byte aligned and padded as
/// padded_width() says; it and `memory` must outlive the scorer.
RowScorer exact_scorer(const GraphSnapshot& snapshot, const float* stored, QueryMemory& memory);

/// The same for the vector of `node`, which was not given up (kNotPrepared).
RowScorer node_scorer(const GraphSnapshot& snapshot, Node node, QueryMemory& memory);

/// hnswlib's greedy walk through the layers above 0.
Node descend(const GraphSnapshot& snapshot, const RowScorer& score, std::vector<float>& distances);

/// How many candidates of a walk on codes get exact distances where `k` are wanted; 0 chooses.
std::size_t rescore_count(const GraphSnapshot& snapshot, std::size_t k, std::size_t rescore);

}  // namespace halo::detail
