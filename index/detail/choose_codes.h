// Which codes an index is built and searched on where its owner left the choice to us.
//
// Thread-safety: pure functions. Private to the index room.
#pragma once

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"

namespace halo::detail {

/// Below this an index fits in the caches, and codes only cost memory.
inline constexpr std::size_t kFewestCodedVectors = 10000;
/// What a search on codes may lose, at the same ef, of the recall that float32 has.
inline constexpr double kMostRecallLost = 0.002;

/// For linking vectors [n, dim] as they are added: kInt8 where their codes are lossless, or where
/// of a sample's 10 nearest in the sample at least 17 in 20 are the same by codes; else kF32. O(n
/// dim) for whole numbers, O(sample^2 dim) otherwise. Vectors that cannot be stored (NaN, zero
/// under cosine) are left out here: insertion names them.
CodeKind choose_link_codes(Metric metric, const MatrixView& vectors, const Executor& executor);

/// For searching: the smallest codes that, on a sample of its own vectors searched as queries, keep
/// recall@10 within kMostRecallLost of float32 at ef 16, 64 and 128. O(sample x search).
CodeKind choose_search_codes(const GraphSnapshot& snapshot, const Executor& executor,
                             const Job& job);

}  // namespace halo::detail
