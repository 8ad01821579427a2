#include "halo/gnn/memory_budget.h"

#include <algorithm>
#include <cstdint>
#include <utility>

#include "halo/gnn/harm_gate.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kFewDirections = 64;
constexpr std::size_t kShortWalk = 32, kShorterWalk = 24, kShortestWalk = 16;

std::size_t stored_dim(const HeadPlan& plan) {
  return (plan.projection.out_dim() + kLine - 1) / kLine * kLine;
}

// The leading directions of a head: rows are ordered by the variance that they carry.
Projection leading(const Projection& projection, std::size_t rank, const Spectrum& spectrum) {
  if (projection.out_dim() <= rank) return projection;
  const MatrixView basis = projection.basis();
  if (basis.rows == 0) return leading_projection(spectrum, rank);
  return {projection.mean(), Matrix::copy_of(basis.sub_rows(0, rank))};
}

std::vector<HeadPlan> with_few_directions(std::vector<HeadPlan> plans, const Spectrum& spectrum,
                                          bool content_too) {
  for (HeadPlan& plan : plans) {
    if (plan.content_share > 0.0F && !content_too) continue;
    plan.projection = leading(plan.projection, kFewDirections, spectrum);
  }
  return plans;
}

}  // namespace

std::size_t planned_bytes(const std::vector<HeadPlan>& plans, std::size_t size, std::size_t dim,
                          std::size_t kept) {
  std::size_t row = kCoherenceEdges * sizeof(std::uint32_t), shared = 0;
  for (const HeadPlan& plan : plans) {
    row += stored_dim(plan) + sizeof(float) + sizeof(std::int16_t) + kept * sizeof(std::uint32_t);
    shared += (plan.projection.basis().rows + 1) * dim * sizeof(float);
  }
  return size * row + shared;
}

void fit_to_memory(std::vector<HeadPlan>& plans, RefineOptions& options, const Spectrum& spectrum,
                   std::size_t size) {
  const std::size_t dim = spectrum.mean.size();
  const double budget =
      options.memory_share * static_cast<double>(size) * static_cast<double>(dim * sizeof(float));
  const std::size_t wanted = options.structure.kept;
  const auto fits = [&](const std::vector<HeadPlan>& cut, std::size_t kept) {
    if (static_cast<double>(planned_bytes(cut, size, dim, kept)) > budget) return false;
    plans = cut;
    options.structure.kept = kept;
    return true;
  };
  std::vector<std::vector<HeadPlan>> choices = {plans};
  if (plans.size() > 1) {
    choices.push_back(
        {*std::max_element(plans.begin(), plans.end(), [](const HeadPlan& a, const HeadPlan& b) {
          return a.weight < b.weight;
        })});
    choices.back().front().weight = 1.0F;
  }
  for (const auto& choice : choices) {
    for (const auto& cut : {choice, with_few_directions(choice, spectrum, false)}) {
      for (const std::size_t kept :
           {wanted, std::min(wanted, kShortWalk), std::min(wanted, kShorterWalk)}) {
        if (fits(cut, kept)) return;
      }
    }
  }
  const std::size_t shortest = std::min(wanted, kShortestWalk);
  const auto fewest = with_few_directions(choices.back(), spectrum, true);
  if (fits(choices.back(), shortest) || fits(fewest, shortest)) return;
  plans = fewest;
  options.structure.kept = shortest;
}

}  // namespace halo::gnn
