#include "halo/gnn/harm_gate.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace halo::gnn {
namespace {

constexpr double kShutAt = 0.92;
constexpr double kOpenAt = 1.0;

}  // namespace

double window_coherence(std::span<const std::uint32_t> window, std::span<const std::uint32_t> edges,
                        std::size_t stride, std::uint32_t left_out) {
  std::vector<std::uint32_t> members(window.begin(), window.end());
  std::sort(members.begin(), members.end());
  std::size_t inside = 0, total = 0;
  for (const std::uint32_t member : window) {
    std::size_t taken = 0;
    for (const std::uint32_t target : edges.subspan(member * stride, stride)) {
      if (target == kNoEdge || taken == kCoherenceEdges) break;
      if (target == left_out) continue;
      ++taken;
      if (std::binary_search(members.begin(), members.end(), target)) ++inside;
    }
    total += taken;
  }
  return total == 0 ? 0.0 : static_cast<double>(inside) / static_cast<double>(total);
}

double hubness(std::span<const std::uint32_t> edges, std::size_t nodes) {
  if (nodes == 0) return 0.0;
  std::vector<std::uint32_t> degrees(nodes, 0);
  double total = 0;
  for (const std::uint32_t target : edges) {
    if (target == kNoEdge) continue;
    ++degrees[target];
    ++total;
  }
  const auto count = static_cast<double>(nodes);
  double squares = 0, cubes = 0;
  for (const std::uint32_t degree : degrees) {
    const double d = degree - total / count;
    squares += d * d;
    cubes += d * d * d;
  }
  return squares > 0 ? cubes / squares / std::sqrt(squares / count) : 0.0;
}

double harm_gate(double query_coherence, double base_coherence) {
  if (!(base_coherence > 0)) return 0.0;
  const double kappa = query_coherence / base_coherence;
  return std::clamp((kappa - kShutAt) / (kOpenAt - kShutAt), 0.0, 1.0);
}

}  // namespace halo::gnn
