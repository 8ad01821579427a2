// How a GNN loop asks the index for its global nodes, without this room knowing an index.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace halo::gnn {

/// The global nodes of GNN layer t: for the notes' loop [&](t) { return snapshot.layer_nodes(t); }.
/// Layer 0 of an index holds every node, which makes that layer's attention O(n^2): offset t to
/// the upper layers for a large graph. What is returned must live until the next call.
using LayerNodes = std::function<std::span<const std::uint32_t>(std::size_t gnn_layer)>;

/// layers[t] for GNN layer t; none above the last, as a snapshot's layer_nodes. The lists must
/// outlive the result.
LayerNodes layer_nodes_of(std::vector<std::span<const std::uint32_t>> layers);

}  // namespace halo::gnn
