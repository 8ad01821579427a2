#include "halo/gnn/harm_gate.h"

#include <algorithm>
#include <cmath>

namespace halo::gnn {
namespace {

constexpr double kFadedAt = 0.2;
// Distances computed by two kernels differ in rounding: a tie counts as reciprocal.
constexpr float kTie = 1e-6F;

}  // namespace

void Reciprocity::add(std::span<const std::uint32_t> nearest, std::span<const float> distances,
                      std::span<const float> reach) {
  const std::size_t count = std::min(nearest.size(), kReciprocityNeighbours);
  for (std::size_t i = 0; i < count; ++i) {
    const float limit = reach[nearest[i]];
    if (distances[i] <= limit + kTie * std::max(1.0F, std::fabs(limit))) ++hits;
  }
  total += count;
}

double harm_gate(double query_reciprocity, double base_reciprocity) {
  if (!(base_reciprocity > 0)) return 0.0;
  const double rho = query_reciprocity / base_reciprocity;
  return std::clamp(1.0 - std::fabs(rho - 1.0) / kFadedAt, 0.0, 1.0);
}

}  // namespace halo::gnn
