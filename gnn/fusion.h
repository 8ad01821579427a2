// The terms of a refined score, and how much each counts.
//
// Every head of a refinement model gives three terms, all of them larger for what belongs more:
//   structure  the affinity of the query's and the candidate's walks, the greatest 1
//   content    z of the cosine of their states
//   hub        minus the candidate's similarity to its own neighbours (the head's threshold), in
//              units of content's z: candidates that are near to everything count for less
// Two more come from plain search: plain, max(z, 0) of the plain score, and anchor, its fourth
// power. Label-free refinement weighs them by the gate; with judged queries the weights are learned
// (train/fit_fusion.h).
//
// Thread-safe: values and pure functions.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "halo/gnn/refinement_model.h"

namespace halo::gnn {

enum class HeadTerm : std::size_t { kStructure, kContent, kHub };
inline constexpr std::size_t kHeadTerms = 3;

/// Terms of a model with `heads` heads: those of each head, then plain and anchor.
constexpr std::size_t num_terms(std::size_t heads) { return heads * kHeadTerms + 2; }
constexpr std::size_t head_term(std::size_t head, HeadTerm term) {
  return head * kHeadTerms + static_cast<std::size_t>(term);
}
constexpr std::size_t plain_term(std::size_t heads) { return heads * kHeadTerms; }
constexpr std::size_t anchor_term(std::size_t heads) { return heads * kHeadTerms + 1; }

/// What label-free refinement uses at this gate, 0 to 1: neither hub nor plain.
std::vector<float> label_free_weights(const RefinementModel& model, double gate);

/// Learned weights, for every index whose model has the same heads.
struct Fusion {
  std::vector<std::string> heads;  ///< their names, in the model's order
  std::vector<float> weights;      ///< one a term, 0 to kMostWeight

  static constexpr float kMostWeight = 1000.0F;
  /// "structure c", ..., "plain", "anchor".
  std::string term_name(std::size_t term) const;
  bool fits(const RefinementModel& model) const;
  /// Throws kCorrupt, naming what is wrong.
  void validate() const;
};

}  // namespace halo::gnn
