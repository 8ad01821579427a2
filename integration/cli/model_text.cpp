#include "halo/integration/cli/model_text.h"

#include <string>

namespace halo::cli {
namespace {

std::string head_text(const gnn::ContentHead& head) {
  const std::string long_name = head.name == "c"   ? "centred"
                                : head.name == "s" ? "spectral"
                                                   : head.name;
  return long_name + " (" + with_commas(head.projection.out_dim()) + " dimensions, weight " +
         fixed(head.weight, 2) + ")";
}

}  // namespace

nlohmann::ordered_json model_facts(const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  nlohmann::ordered_json heads = nlohmann::ordered_json::array();
  for (const gnn::ContentHead& head : parts.heads) {
    heads.push_back(
        {{"name", head.name}, {"weight", head.weight}, {"dim", head.projection.out_dim()}});
  }
  nlohmann::ordered_json facts = {
      {"heads", heads},
      {"window", parts.options.window},
      {"gnn_layers", parts.options.layers},
      {"participation_ratio", parts.participation_ratio},
      {"flatness", parts.flatness},
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
  for (const gnn::ContentHead& head : parts.heads) {
    heads += (heads.empty() ? "" : ", ") + head_text(head);
  }
  lines.add("heads", heads);
  lines.add("because", "the variance of " + with_commas(parts.dim) + " dimensions lies in about " +
                           fixed(parts.participation_ratio, 1) + " directions (flatness " +
                           fixed(parts.flatness, 2) +
                           "); the flatter it is, the less the spectral head counts");
  lines.add("attention", std::to_string(parts.options.window) + " graph neighbours, " +
                             std::to_string(parts.options.layers) + " GNN layers");
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
