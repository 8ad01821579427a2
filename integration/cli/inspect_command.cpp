#include <algorithm>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/cli/commands.h"
#include "halo/integration/cli/inspect_node.h"
#include "halo/integration/cli/model_text.h"
#include "halo/integration/cli/text.h"
#include "halo/integration/engine.h"
#include "halo/integration/refine.h"

namespace halo::cli {
namespace {

/// The share of all n^2 pairs that attention looks at: a window of graph neighbours and the global
/// nodes of a row.
double mask_density(const GraphSnapshot& snapshot, std::size_t window, std::size_t global) {
  const std::size_t n = snapshot.size();
  const std::size_t row = std::min(window, n - 1) + global;
  return std::min(1.0, static_cast<double>(row) / static_cast<double>(n));
}

nlohmann::ordered_json layer_facts(const GraphSnapshot& snapshot, std::size_t layer) {
  return {{"layer", layer},
          {"nodes", snapshot.layer_nodes(layer).size()},
          {"edges", snapshot.edges(layer).entries()},
          {"average_degree", snapshot.average_degree(layer)}};
}

void require_layer(const GraphSnapshot& snapshot, std::size_t layer) {
  if (layer < snapshot.num_layers()) return;
  throw Error(ErrorCode::kInvalidArgument, "the index has layers 0 to " +
                                               std::to_string(snapshot.num_layers() - 1) +
                                               ", not layer " + std::to_string(layer));
}

/// One layer in detail: how its degrees are spread, and which ids it holds where they are few.
void inspect_layer(const GraphSnapshot& snapshot, std::size_t layer, Session& session) {
  constexpr std::size_t kMostIds = 32;
  const CsrView edges = snapshot.edges(layer);
  std::vector<std::size_t> degrees;
  for (std::size_t row = 0; row < edges.rows(); ++row) degrees.push_back(edges.row(row).size());
  std::sort(degrees.begin(), degrees.end());
  nlohmann::ordered_json facts = layer_facts(snapshot, layer);
  facts["least_degree"] = degrees.front();
  facts["median_degree"] = degrees[degrees.size() / 2];
  facts["greatest_degree"] = degrees.back();
  std::string ids;
  const auto nodes = snapshot.layer_nodes(layer);
  for (const Node node : nodes.first(std::min(nodes.size(), kMostIds))) {
    facts["first_ids"].push_back(snapshot.id(node));
    ids += (ids.empty() ? "" : " ") + std::to_string(snapshot.id(node));
  }
  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("layer",
              std::to_string(layer) + " of 0 to " + std::to_string(snapshot.num_layers() - 1));
    lines.add("nodes", with_commas(nodes.size()));
    lines.add("edges", with_commas(edges.entries()));
    lines.add("degree", "average " + fixed(snapshot.average_degree(layer), 1) + ", least " +
                            std::to_string(degrees.front()) + ", median " +
                            std::to_string(degrees[degrees.size() / 2]) + ", greatest " +
                            std::to_string(degrees.back()));
    lines.add("ids", ids + (nodes.size() > kMostIds ? " ..." : ""));
    lines.print(out);
  });
}

void inspect_index(const InspectCommand& command, const Engine& engine, Session& session) {
  const GraphSnapshot& snapshot = *engine.snapshot();
  // The deepest GNN layer sees the most global nodes.
  const std::size_t global = global_nodes(snapshot, snapshot.num_layers()).size();
  const std::size_t window = snapshot.adaptive_window();
  const double density = mask_density(snapshot, window, global);
  const GraphSnapshot::MemoryUsage memory = snapshot.memory_usage();
  const std::size_t model_memory = engine.model() ? engine.model()->memory_bytes() : 0;

  nlohmann::ordered_json facts = {
      {"index", command.index.string()},
      {"vectors", snapshot.size()},
      {"dim", snapshot.dim()},
      {"metric", metric_name(snapshot.metric())},
      {"M", snapshot.M()},
      {"ef_construction", snapshot.ef_construction()},
      {"seed", snapshot.seed()},
      {"codes", code_kind_name(snapshot.codes().kind())},
      {"stored", code_kind_name(snapshot.stored())},
      {"entry_point", snapshot.id(snapshot.entry_point())},
      {"window", window},
      {"global_nodes", global},
      {"mask_density", density},
      {"unreachable", snapshot.unreachable_count()},
      {"memory_bytes",
       {{"vectors", memory.vectors},
        {"codes", memory.codes},
        {"links", memory.links},
        {"ids", memory.ids},
        {"other", memory.other},
        {"model", model_memory}}},
      {"file_bytes", std::filesystem::file_size(command.index)},
      {"checksums", "valid"},
      {"model", nullptr},
  };
  for (std::size_t layer = 0; layer < snapshot.num_layers(); ++layer) {
    facts["layers"].push_back(layer_facts(snapshot, layer));
  }
  if (engine.model()) facts["model"] = model_facts(*engine.model());

  session.report(facts, [&](std::ostream& out) {
    Facts lines;
    lines.add("index", command.index.string() + ", " +
                           bytes(std::filesystem::file_size(command.index)) +
                           ", every checksum valid");
    lines.add("vectors", with_commas(snapshot.size()));
    lines.add("dimension", with_commas(snapshot.dim()));
    lines.add("metric", std::string(metric_name(snapshot.metric())));
    lines.add("built with", "M " + std::to_string(snapshot.M()) + ", ef-construction " +
                                std::to_string(snapshot.ef_construction()) + ", seed " +
                                std::to_string(snapshot.seed()));
    lines.add("codes", std::string(code_kind_name(snapshot.codes().kind())) + ", vectors kept as " +
                           std::string(code_kind_name(snapshot.stored())));
    lines.add("entry point", "id " + std::to_string(snapshot.id(snapshot.entry_point())));
    lines.add("unreachable", with_commas(snapshot.unreachable_count()));
    lines.add("window", std::to_string(window) + " graph neighbours (2 x average degree)");
    lines.add("global nodes", with_commas(global) + " of the upper layers");
    lines.add("mask density", fixed(100 * density, 3) + "% of all pairs");
    lines.add("memory", bytes(memory.total() + model_memory) + ": vectors " +
                            bytes(memory.vectors) + ", codes " + bytes(memory.codes) + ", links " +
                            bytes(memory.links) + ", ids " + bytes(memory.ids) + ", other " +
                            bytes(memory.other) + ", model " + bytes(model_memory));
    if (engine.model()) {
      describe_model(*engine.model(), lines);
    } else {
      lines.add("refinement", "not prepared (halo refine)");
    }
    lines.print(out);
    out << '\n';
    Table table({"layer", "nodes", "edges", "average degree"});
    for (std::size_t layer = 0; layer < snapshot.num_layers(); ++layer) {
      table.add({std::to_string(layer), with_commas(snapshot.layer_nodes(layer).size()),
                 with_commas(snapshot.edges(layer).entries()),
                 fixed(snapshot.average_degree(layer), 1)});
    }
    table.print(out);
  });
}

}  // namespace

void run_inspect(const InspectCommand& command, Session& session) {
  const Engine engine = Engine::load(command.index);
  session.job().check();
  if (command.layer) require_layer(*engine.snapshot(), *command.layer);
  if (command.node) {
    inspect_node(engine, *command.node, command.layer.value_or(0), session);
  } else if (command.layer) {
    inspect_layer(*engine.snapshot(), *command.layer, session);
  } else {
    inspect_index(command, engine, session);
  }
}

}  // namespace halo::cli
