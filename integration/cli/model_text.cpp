#include "halo/integration/cli/model_text.h"

#include <string>

#include "halo/gnn/harm_gate.h"
#include "halo/integration/refine_update.h"

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

double hubness_of(const gnn::RefinementParts& parts) {
  return gnn::hubness(parts.edges, parts.size);
}

// Nothing where every entry is kept.
std::string entries_text(const gnn::RefineOptions& options) {
  if (options.entries.all()) return {};
  return "on average " +
         fixed(double{options.entries.share} * static_cast<double>(options.window), 1) +
         " of them kept by the learned model, ";
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
      {"entries_share", parts.options.entries.share},
      {"gnn_layers", parts.options.layers},
      {"participation_ratio", parts.participation_ratio},
      {"flatness", parts.flatness},
      {"transitivity_ratio", parts.transitivity_ratio},
      {"base_coherence", parts.base_coherence},
      {"hubness", hubness_of(parts)},
      {"calibrated_gate", nullptr},
      {"memory_bytes", model.memory_bytes()},
      {"changes", change_facts(model)},
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
                             " graph neighbours, " + entries_text(parts.options) +
                             std::to_string(parts.options.layers) + " GNN layers; walks of " +
                             std::to_string(parts.options.structure.steps + 1) + " steps");
  lines.add("harm gate",
            "base coherence " + fixed(parts.base_coherence, 3) + ", hubness " +
                fixed(hubness_of(parts), 1) +
                (gnn::says_little(hubness_of(parts), parts.base_coherence)
                     ? " (the graph says little: the first " + std::to_string(gnn::kHeld) +
                           " keep the plain order)"
                     : "") +
                (parts.calibrated_gate
                     ? ", measured on sample queries: lets " +
                           fixed(100 * *parts.calibrated_gate, 0) + "% of refinement through"
                     : ", measured on each batch of 50 or more queries; smaller batches stay close "
                       "to the plain order"));
  lines.add("model memory", bytes(model.memory_bytes()));
  if (parts.changed > 0) lines.add("changes", change_text(model));
}

nlohmann::ordered_json change_facts(const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  return {{"dirty", parts.dirty.size()},
          {"changed_share", changed_share(parts)},
          {"drift", parts.drift},
          {"full_refine_advised", full_refine_advised(parts)}};
}

std::string change_text(const gnn::RefinementModel& model) {
  const gnn::RefinementParts& parts = model.parts();
  std::string text = fixed(100 * changed_share(parts), 1) +
                     "% of the vectors changed since the heads were chosen, their mean by " +
                     fixed(100 * parts.drift, 1) + "% of their spread";
  if (!parts.dirty.empty()) {
    const auto share = static_cast<double>(parts.dirty.size()) / static_cast<double>(parts.size);
    text += "; " + with_commas(parts.dirty.size()) + " (" + fixed(100 * share, 1) +
            "%) wait for halo refine --changed";
  }
  return text + (full_refine_advised(parts) ? ": run halo refine" : "");
}

nlohmann::ordered_json fusion_facts(const gnn::Fusion& fusion) {
  nlohmann::ordered_json facts;
  for (std::size_t t = 0; t < fusion.weights.size(); ++t) {
    facts[fusion.term_name(t)] = fusion.weights[t];
  }
  return facts;
}

std::string fusion_text(const gnn::Fusion& fusion) {
  std::string text;
  for (std::size_t t = 0; t < fusion.weights.size(); ++t) {
    text += (t == 0 ? "" : ", ") + fusion.term_name(t) + ' ' +
            fixed(static_cast<double>(fusion.weights[t]), 2);
  }
  return text;
}

}  // namespace halo::cli
