#include "halo/integration/cli/model_text.h"

#include <string>

namespace halo::cli {
namespace {

std::string head_text(const gnn::RefinementHead& head) {
  const std::string long_name = head.name == "c"   ? "centred"
                                : head.name == "g" ? "graph-whitened"
                                                   : head.name;
  const std::string parts = head.content_share > 0
                                ? fixed(100 * (1 - head.content_share), 0) + "% structure, " +
                                      fixed(100 * head.content_share, 0) + "% content"
                                : "structure";
  return long_name + " (weight " + fixed(head.weight, 2) + ", " +
         with_commas(head.projection.out_dim()) + " dimensions, " + parts + ")";
}

// Why the heads weigh what they do.
std::string reason(const gnn::RefinementParts& parts) {
  std::string text = "the variance of " + with_commas(parts.dim) + " dimensions lies in about " +
                     fixed(parts.participation_ratio, 1) + " directions (flatness " +
                     fixed(parts.flatness, 2) + ")";
  if (parts.transitivity_ratio == 0) return text + ": too flat for the graph to whiten";
  return text + "; whitening by the graph makes its windows " + fixed(parts.transitivity_ratio, 2) +
         " x as transitive (counts from 0.95, fully from 1.05)";
}

}  // namespace

nlohmann::ordered_json model_facts(const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  nlohmann::ordered_json heads = nlohmann::ordered_json::array();
  for (const gnn::RefinementHead& head : parts.heads) {
    heads.push_back({{"name", head.name},
                     {"weight", head.weight},
                     {"content_share", head.content_share},
                     {"dim", head.projection.out_dim()}});
  }
  nlohmann::ordered_json facts = {
      {"heads", heads},
      {"window", parts.options.window},
      {"gnn_layers", parts.options.layers},
      {"participation_ratio", parts.participation_ratio},
      {"flatness", parts.flatness},
      {"transitivity_ratio", parts.transitivity_ratio},
      {"base_coherence", parts.base_coherence},
      {"calibrated_gate", nullptr},
      {"memory_bytes", model.memory_bytes()},
  };
  if (parts.calibrated_gate) facts["calibrated_gate"] = *parts.calibrated_gate;
  return facts;
}

void describe_model(const gnn::RefinementModel& model, Facts& lines) {
  const gnn::RefinementParts& parts = model.parts();
  std::string heads;
  for (const gnn::RefinementHead& head : parts.heads) {
    heads += (heads.empty() ? "" : ", ") + head_text(head);
  }
  lines.add("heads", heads);
  lines.add("because", reason(parts));
  lines.add("attention", std::to_string(parts.options.window) + " of " +
                             std::to_string(parts.options.window * parts.options.wide_windows) +
                             " graph neighbours, " + std::to_string(parts.options.layers) +
                             " GNN layers; walks of " +
                             std::to_string(parts.options.structure.steps + 1) + " steps");
  lines.add("harm gate",
            "base coherence " + fixed(parts.base_coherence, 3) +
                (parts.calibrated_gate
                     ? ", measured on sample queries: lets " +
                           fixed(100 * *parts.calibrated_gate, 0) + "% of refinement through"
                     : ", measured on each batch of 50 or more queries; smaller batches stay close "
                       "to the plain order"));
  lines.add("model memory", bytes(model.memory_bytes()));
}

}  // namespace halo::cli
