#include "halo/integration/node_attention.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <utility>

#include "halo/core/error.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/detail/graph_distance.h"

namespace halo {
namespace {

using Near = std::pair<float, Node>;  // ordered as results are: equal distances by node

std::vector<Near> by_distance(const GraphSnapshot& snapshot, Node from, std::span<const Node> to) {
  const std::size_t dim = snapshot.dim();
  std::vector<float> here(dim), there(dim);
  snapshot.copy_vector(from, here);
  std::vector<Near> near;
  near.reserve(to.size());
  for (const Node node : to) {
    snapshot.copy_vector(node, there);
    near.emplace_back(detail::graph_distance(snapshot.metric(), here, there), node);
  }
  std::sort(near.begin(), near.end());
  return near;
}

std::vector<NodeAttention::Near> with_ids(const GraphSnapshot& snapshot,
                                          std::span<const Near> near) {
  std::vector<NodeAttention::Near> named;
  named.reserve(near.size());
  for (const auto& [distance, node] : near) named.push_back({distance, snapshot.id(node)});
  return named;
}

// One head after the other, each with one weight for each of `window`.
std::vector<NodeAttention::Head> heads_of(const gnn::RefinementModel& model, Node node,
                                          std::span<const Near> window) {
  std::vector<std::size_t> place(window.size());  // of the nodes in ascending order
  std::iota(place.begin(), place.end(), std::size_t{0});
  std::sort(place.begin(), place.end(),
            [&](std::size_t a, std::size_t b) { return window[a].second < window[b].second; });
  std::vector<Node> nodes;
  nodes.reserve(window.size());
  for (const std::size_t i : place) nodes.push_back(window[i].second);

  std::vector<NodeAttention::Head> heads;
  for (std::size_t h = 0; h < model.parts().heads.size(); ++h) {
    const std::vector<float> weights = model.attention_weights(h, node, nodes);
    NodeAttention::Head head{model.parts().heads[h].name, model.parts().heads[h].weight,
                             std::vector<float>(weights.size())};
    for (std::size_t i = 0; i < weights.size(); ++i) head.weights[place[i]] = weights[i];
    heads.push_back(std::move(head));
  }
  return heads;
}

}  // namespace

NodeAttention node_attention(const Engine& engine, Id id, std::size_t layer) {
  const auto floats = engine.snapshot()->with_vectors_as(CodeKind::kF32);
  const GraphSnapshot& snapshot = *floats;
  const auto node = snapshot.find(id);
  if (!node) {
    throw Error(ErrorCode::kUnknownId, "the index holds no vector with id " + std::to_string(id));
  }
  NodeAttention attention;
  attention.level = snapshot.levels()[*node];
  attention.links =
      with_ids(snapshot, by_distance(snapshot, *node, snapshot.neighbours(*node, layer)));
  if (!engine.model()) return attention;
  std::size_t window = engine.model()->parts().options.window;
  if (window == 0) window = snapshot.adaptive_window();
  const std::vector<Near> near =
      by_distance(snapshot, *node, neighbour_window(snapshot, *node, window));
  attention.window = with_ids(snapshot, near);
  attention.heads = heads_of(*engine.model(), *node, near);
  return attention;
}

}  // namespace halo
