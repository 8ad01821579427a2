#include "halo/integration/cli/inspect_node.h"

#include <algorithm>
#include <span>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/cli/text.h"

namespace halo::cli {
namespace {

using Near = std::pair<float, Node>;  // ordered as results are: equal distances by node

float distance_between(const GraphSnapshot& snapshot, Node a, Node b) {
  const float* x = snapshot.vector(a).data();
  const float* y = snapshot.vector(b).data();
  return snapshot.metric() == Metric::kL2 ? kernels::l2_squared(x, y, snapshot.dim())
                                          : 1.0F - kernels::dot(x, y, snapshot.dim());
}

std::vector<Near> by_distance(const GraphSnapshot& snapshot, Node from, std::span<const Node> to) {
  std::vector<Near> near;
  near.reserve(to.size());
  for (const Node node : to) near.emplace_back(distance_between(snapshot, from, node), node);
  std::sort(near.begin(), near.end());
  return near;
}

/// Attention weights of one head, one for each of `window`.
struct Weights {
  std::string head;
  std::vector<float> values;
};

std::vector<Weights> attention_of(const Engine& engine, Node node, std::span<const Near> window) {
  std::vector<std::pair<Node, std::size_t>> columns;  // ascending, with the place by distance
  columns.reserve(window.size());
  for (std::size_t i = 0; i < window.size(); ++i) columns.emplace_back(window[i].second, i);
  std::sort(columns.begin(), columns.end());
  std::vector<Node> nodes;
  nodes.reserve(columns.size());
  for (const auto& column : columns) nodes.push_back(column.first);

  const gnn::RefinementModel& model = *engine.model();
  std::vector<Weights> all;
  for (std::size_t head = 0; head < model.parts().heads.size(); ++head) {
    const std::vector<float> weights = model.attention_weights(head, node, nodes);
    Weights row{model.parts().heads[head].name, std::vector<float>(weights.size())};
    for (std::size_t i = 0; i < weights.size(); ++i) row.values[columns[i].second] = weights[i];
    all.push_back(std::move(row));
  }
  return all;
}

}  // namespace

void inspect_node(const Engine& engine, Id id, std::size_t layer, Session& session) {
  const GraphSnapshot& snapshot = *engine.snapshot();
  const auto node = snapshot.find(id);
  if (!node) {
    throw Error(ErrorCode::kUnknownId, "the index holds no vector with id " + std::to_string(id));
  }
  const std::vector<Near> links = by_distance(snapshot, *node, snapshot.neighbours(*node, layer));
  const std::size_t level = snapshot.levels()[*node];
  nlohmann::ordered_json facts = {{"id", id},
                                  {"level", level},
                                  {"layer", layer},
                                  {"neighbours", nlohmann::ordered_json::array()},
                                  {"attention", nullptr}};
  Table link_table({"neighbour", "distance"});
  for (const auto& [distance, neighbour] : links) {
    facts["neighbours"].push_back({{"id", snapshot.id(neighbour)}, {"distance", distance}});
    link_table.add({std::to_string(snapshot.id(neighbour)), fixed(distance, 4)});
  }

  std::vector<std::string> header = {"attends to", "distance"};
  std::vector<std::vector<std::string>> rows;
  if (engine.model()) {
    std::size_t window = engine.model()->parts().options.window;
    if (window == 0) window = snapshot.adaptive_window();
    const std::vector<Near> near =
        by_distance(snapshot, *node, neighbour_window(snapshot, *node, window));
    const std::vector<Weights> attention = attention_of(engine, *node, near);
    facts["attention"] = nlohmann::ordered_json::array();
    for (const Weights& weights : attention) header.push_back("head " + weights.head);
    for (std::size_t i = 0; i < near.size(); ++i) {
      nlohmann::ordered_json entry = {{"id", snapshot.id(near[i].second)},
                                      {"distance", near[i].first},
                                      {"weights", nlohmann::ordered_json::array()}};
      rows.push_back({std::to_string(snapshot.id(near[i].second)), fixed(near[i].first, 4)});
      for (const Weights& weights : attention) {
        entry["weights"].push_back({{"head", weights.head}, {"weight", weights.values[i]}});
        rows.back().push_back(fixed(weights.values[i], 4));
      }
      facts["attention"].push_back(entry);
    }
  }
  session.report(facts, [&](std::ostream& out) {
    out << "id " << id << ": highest layer " << level << ", " << links.size()
        << " neighbours in layer " << layer << "\n\n";
    link_table.print(out);
    if (!engine.model()) {
      out << "\nNot prepared for refinement (halo refine): no attention to show.\n";
      return;
    }
    out << "\nAttention weights by the last states, a head a column:\n\n";
    Table table(header);
    for (const auto& row : rows) table.add(row);
    table.print(out);
  });
}

}  // namespace halo::cli
