#include "halo/integration/cli/inspect_node.h"

#include <utility>
#include <vector>

#include "halo/integration/cli/text.h"
#include "halo/integration/node_attention.h"

namespace halo::cli {

void inspect_node(const Engine& engine, Id id, std::size_t layer, Session& session) {
  const NodeAttention node = node_attention(engine, id, layer);
  nlohmann::ordered_json facts = {{"id", id},
                                  {"level", node.level},
                                  {"layer", layer},
                                  {"neighbours", nlohmann::ordered_json::array()},
                                  {"attention", nullptr}};
  Table link_table({"neighbour", "distance"});
  for (const auto& link : node.links) {
    facts["neighbours"].push_back({{"id", link.id}, {"distance", link.distance}});
    link_table.add({std::to_string(link.id), fixed(link.distance, 4)});
  }

  std::vector<std::string> header = {"attends to", "distance"};
  std::vector<std::vector<std::string>> rows;
  if (engine.model()) {
    facts["attention"] = nlohmann::ordered_json::array();
    for (const auto& head : node.heads) header.push_back("head " + head.name);
    for (std::size_t i = 0; i < node.window.size(); ++i) {
      const auto& near = node.window[i];
      nlohmann::ordered_json entry = {{"id", near.id},
                                      {"distance", near.distance},
                                      {"weights", nlohmann::ordered_json::array()}};
      rows.push_back({std::to_string(near.id), fixed(near.distance, 4)});
      for (const auto& head : node.heads) {
        entry["weights"].push_back({{"head", head.name}, {"weight", head.weights[i]}});
        rows.back().push_back(fixed(head.weights[i], 4));
      }
      facts["attention"].push_back(entry);
    }
  }
  session.report(facts, [&](std::ostream& out) {
    out << "id " << id << ": highest layer " << node.level << ", " << node.links.size()
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
