// Attention windows: for each node its nearest graph neighbours, re-selected from its 1- and 2-hop
// neighbourhood.
//
// hnswlib's own links keep only diverse neighbours (about a quarter of the true nearest); two hops
// hold most of the rest.
#pragma once

#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// The nearest up to `window` nodes of every node, itself not among them, by the index's distance,
/// in its layer-0 1- and 2-hop neighbourhood; columns ascending. O(n degree^2 dim). Throws
/// kInvalidArgument for window = 0.
CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          const Executor& executor, const Job& job = {});

}  // namespace halo
