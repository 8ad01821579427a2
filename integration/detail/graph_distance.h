// Distances between the vectors of an index, and who is nearest of a window.
//
// Thread-safe: pure functions. Private to the integration room.
#pragma once

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/gnn/harm_gate.h"
#include "halo/index/graph_snapshot.h"

namespace halo::detail {

/// Of two vectors of an index of this metric, as its graph was built with.
inline float graph_distance(Metric metric, std::span<const float> x, std::span<const float> y) {
  return metric == Metric::kL2 ? kernels::l2_squared(x.data(), y.data(), x.size())
                               : 1.0F - kernels::dot(x.data(), y.data(), x.size());
}
inline float distance_between(const GraphSnapshot& snapshot, Node a, Node b) {
  return graph_distance(snapshot.metric(), snapshot.vector(a), snapshot.vector(b));
}

/// Fills `edges` with the nearest of `window` to `node`, nearest first (equal distances: lower node
/// first), then kNoEdge. `order` is scratch.
inline void nearest_of_window(const GraphSnapshot& snapshot, Node node,
                              std::span<const Node> window, std::span<std::uint32_t> edges,
                              std::vector<std::pair<float, Node>>& order) {
  order.clear();
  for (const Node j : window) order.emplace_back(distance_between(snapshot, node, j), j);
  const std::size_t kept = std::min(edges.size(), order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end());
  std::fill(edges.begin(), edges.end(), gnn::kNoEdge);
  for (std::size_t e = 0; e < kept; ++e) edges[e] = order[e].second;
}

}  // namespace halo::detail
