// A snapshot without some of its nodes: their links are replaced by links through them.
//
// Thread-safety: a pure function. Private to the index room.
// Source: Singh et al., "FreshDiskANN: a fast and accurate graph-based ANN index for streaming
// similarity search", 2021 (algorithm 4, on every layer, with HNSW's selection of neighbours).
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"

namespace halo::detail {

/// The nodes whose bit is set in `kept` (bits.h), at least one, renumbered in their old order.
/// Where a node loses a neighbour, that neighbour's kept neighbours become candidates for its
/// links. The same bytes at any thread count. O(links + links to removed nodes x M dim). Throws
/// kCancelled; kEmpty where nothing is kept.
std::shared_ptr<const GraphSnapshot> keep_nodes(const GraphSnapshot& snapshot,
                                                std::span<const std::uint64_t> kept,
                                                const Executor& executor, const Job& job);

}  // namespace halo::detail
