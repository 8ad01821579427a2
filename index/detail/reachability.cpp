#include "halo/index/detail/reachability.h"

#include <algorithm>
#include <span>
#include <utility>

#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/row_scorer.h"

namespace halo::detail {
namespace {

std::span<const Node> row_of(const LayerLinks& layer, std::size_t row) {
  return std::span(layer.neighbours)
      .subspan(layer.row_offsets[row], layer.row_offsets[row + 1] - layer.row_offsets[row]);
}

// Marks everything that links of layer 0 lead to from the nodes in `queue`, which are marked.
void spread(const LayerLinks& layer0, std::vector<Node>& queue, std::vector<std::uint8_t>& mark) {
  while (!queue.empty()) {
    const Node node = queue.back();
    queue.pop_back();
    for (const Node next : row_of(layer0, node)) {
      if (mark[next] == 0) {
        mark[next] = 1;
        queue.push_back(next);
      }
    }
  }
}

void add_links(LayerLinks& layer0, std::vector<std::pair<Node, Node>> links) {
  std::sort(links.begin(), links.end());
  std::vector<Node> neighbours;
  neighbours.reserve(layer0.neighbours.size() + links.size());
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(layer0.row_offsets.size());
  auto added = links.begin();
  for (std::size_t row = 0; row < layer0.nodes.size(); ++row) {
    const auto begin = static_cast<std::ptrdiff_t>(neighbours.size());
    const auto old = row_of(layer0, row);
    neighbours.insert(neighbours.end(), old.begin(), old.end());
    if (added != links.end() && added->first == row) {
      for (; added != links.end() && added->first == row; ++added) {
        neighbours.push_back(added->second);
      }
      std::sort(neighbours.begin() + begin, neighbours.end());
      neighbours.erase(std::unique(neighbours.begin() + begin, neighbours.end()), neighbours.end());
    }
    offsets.push_back(neighbours.size());
  }
  layer0.neighbours = std::move(neighbours);
  layer0.row_offsets = std::move(offsets);
}

}  // namespace

std::vector<std::uint8_t> reachable_nodes(const SnapshotParts& parts) {
  std::vector<std::uint8_t> mark(parts.ids.size(), 0);
  std::vector<Node> reached{parts.entry_point}, queue;
  mark[parts.entry_point] = 1;
  for (std::size_t l = parts.layers.size(); l-- > 0;) {
    const LayerLinks& layer = parts.layers[l];
    if (l == 0) {
      queue = reached;
      spread(layer, queue, mark);
      break;
    }
    // What was reached above is a way into this layer.
    for (std::size_t head = 0; head < reached.size(); ++head) {
      const auto at = std::lower_bound(layer.nodes.begin(), layer.nodes.end(), reached[head]);
      for (const Node next : row_of(layer, static_cast<std::size_t>(at - layer.nodes.begin()))) {
        if (mark[next] == 0) {
          mark[next] = 1;
          reached.push_back(next);
        }
      }
    }
  }
  return mark;
}

std::size_t repair_unreachable(SnapshotParts& parts) {
  std::vector<std::uint8_t> mark = reachable_nodes(parts);
  // Only as wide as hnswlib links: a better neighbour is not worth a slower seal.
  const std::size_t width =
      std::clamp<std::size_t>(parts.ef_construction, 1, std::max<std::size_t>(mark.size(), 1));
  LayerLinks& layer0 = parts.layers[0];
  std::vector<std::pair<Node, Node>> links;
  std::vector<Node> queue;
  WalkScratch scratch;
  std::size_t repaired = 0;
  for (Node node = 0; node < mark.size(); ++node) {
    if (mark[node] != 0) continue;
    const RowScorer score = f32_scorer(parts.metric, parts.vectors, parts.vectors.row(node));
    walk_layer(score, mark.size(), parts.entry_point, width, layer0_rows(layer0), scratch);
    // The walk sees the links as they were, so all it finds was reachable before the repair.
    const Node nearest = scratch.pool.node(0);
    links.emplace_back(nearest, node);
    links.emplace_back(node, nearest);
    ++repaired;
    mark[node] = 1;
    queue.assign(1, node);
    spread(layer0, queue, mark);
  }
  if (repaired != 0) add_links(layer0, std::move(links));
  return repaired;
}

}  // namespace halo::detail
