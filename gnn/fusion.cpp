#include "halo/gnn/fusion.h"

#include <algorithm>
#include <array>

#include "halo/core/error.h"

namespace halo::gnn {
namespace {

constexpr float kAnchorWeight = 1.5F;
constexpr std::array<const char*, kHeadTerms> kNames = {"structure ", "content ", "hub "};

}  // namespace

std::vector<float> label_free_weights(const RefinementModel& model, double gate) {
  const auto& heads = model.parts().heads;
  std::vector<float> weights(num_terms(heads.size()), 0.0F);
  for (std::size_t h = 0; h < heads.size(); ++h) {
    const float weight = static_cast<float>(gate) * heads[h].weight;
    weights[head_term(h, HeadTerm::kStructure)] = weight * (1.0F - heads[h].content_share);
    weights[head_term(h, HeadTerm::kContent)] = weight * heads[h].content_share;
  }
  weights[anchor_term(heads.size())] = kAnchorWeight;
  return weights;
}

std::string Fusion::term_name(std::size_t term) const {
  if (term == plain_term(heads.size())) return "plain";
  if (term == anchor_term(heads.size())) return "anchor";
  return kNames[term % kHeadTerms] + heads.at(term / kHeadTerms);
}

bool Fusion::fits(const RefinementModel& model) const {
  return std::equal(heads.begin(), heads.end(), model.parts().heads.begin(),
                    model.parts().heads.end(),
                    [](const std::string& name, const auto& head) { return name == head.name; });
}

void Fusion::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kCorrupt, std::string("fusion: ") + what);
  };
  check(!heads.empty(), "no head");
  check(weights.size() == num_terms(heads.size()), "one weight a term is needed");
  check(std::all_of(weights.begin(), weights.end(),
                    [](float weight) { return weight >= 0 && weight <= kMostWeight; }),
        "a weight outside 0 to 1000");
}

}  // namespace halo::gnn
