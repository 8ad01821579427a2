#include "halo/gnn/class_mixture.h"

#include "halo/core/error.h"

namespace halo::gnn {

std::vector<double> mixture_weights(std::span<const std::vector<double>> probabilities,
                                    std::span<const double> start, const MixtureOptions& options) {
  std::vector<double> weights(start.begin(), start.end());
  const std::size_t cases = probabilities.empty() ? 0 : probabilities.front().size();
  for (const auto& opinion : probabilities) {
    if (opinion.size() != cases || probabilities.size() != start.size()) {
      throw Error(ErrorCode::kDimensionMismatch, "mixture: one probability a case and opinion");
    }
  }
  std::vector<double> counts(weights.size());
  for (std::size_t round = 0; round < options.rounds; ++round) {
    for (std::size_t e = 0; e < counts.size(); ++e) counts[e] = options.prior * start[e];
    double total = options.prior;
    for (std::size_t i = 0; i < cases; ++i) {
      double sum = 0;
      for (std::size_t e = 0; e < counts.size(); ++e) sum += weights[e] * probabilities[e][i];
      if (!(sum > 0)) continue;
      for (std::size_t e = 0; e < counts.size(); ++e) {
        counts[e] += weights[e] * probabilities[e][i] / sum;
      }
      ++total;
    }
    for (std::size_t e = 0; e < counts.size(); ++e) weights[e] = counts[e] / total;
  }
  return weights;
}

}  // namespace halo::gnn
