#include "halo/gnn/harm_gate.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <vector>

namespace halo::gnn {
namespace {

constexpr double kShutAt = 0.92;
constexpr double kOpenAt = 1.0;

// A few nodes, looked up often: open addressing, at most a quarter full.
class NodeSet {
 public:
  explicit NodeSet(std::span<const std::uint32_t> nodes)
      : table_(std::bit_ceil(4 * nodes.size() + 1), kNoEdge) {
    for (const std::uint32_t node : nodes) table_[place_of(node)] = node;
  }
  bool contains(std::uint32_t node) const { return table_[place_of(node)] == node; }

 private:
  // Where the node is, or would be.
  std::size_t place_of(std::uint32_t node) const {
    std::size_t place = node * std::size_t{0x9e3779b97f4a7c15U} >> 32U;
    for (place &= table_.size() - 1; table_[place] != node && table_[place] != kNoEdge;) {
      place = (place + 1) & (table_.size() - 1);
    }
    return place;
  }
  std::vector<std::uint32_t> table_;
};

}  // namespace

double window_coherence(std::span<const std::uint32_t> window, std::span<const std::uint32_t> edges,
                        std::size_t stride, std::uint32_t left_out) {
  const NodeSet members(window);
  std::size_t inside = 0, total = 0;
  for (const std::uint32_t member : window) {
    std::size_t taken = 0;
    for (const std::uint32_t target : edges.subspan(member * stride, stride)) {
      if (target == kNoEdge || taken == kCoherenceEdges) break;
      if (target == left_out) continue;
      ++taken;
      inside += members.contains(target) ? 1 : 0;
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
