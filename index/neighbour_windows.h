// Attention windows: for each node its nearest graph neighbours, re-selected by walking the graph
// from the node.
//
// hnswlib's own links keep only diverse neighbours, about a quarter of the true nearest. A
// best-first walk from the node looks at its links, then at those of the nearest found so far,
// until none of them leads to a nearer one: the one- and two-hop neighbourhood where that is dense,
// and further along thin manifolds, where nodes have few links.
#pragma once

#include <span>
#include <vector>

#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// The nearest up to `window` nodes of every node by the index's distance, itself not among them,
/// as the walk over layer 0 finds them; columns ascending. A window is closed: every neighbour of
/// its members is in it, or no nearer than its farthest member. O(n window degree dim). Throws
/// kInvalidArgument for window = 0.
CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          const Executor& executor, const Job& job = {});

/// The rows of `nodes` alone, in their order: row r is that of nodes[r]. O(nodes window degree
/// dim). Throws kUnknownId for a node outside the index.
CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          std::span<const Node> nodes, const Executor& executor,
                          const Job& job = {});

/// One node's row of neighbour_windows(), ascending. Throws kUnknownId for a node outside the
/// index.
std::vector<Node> neighbour_window(const GraphSnapshot& snapshot, Node node, std::size_t window);

}  // namespace halo
