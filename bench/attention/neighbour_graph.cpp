#include "neighbour_graph.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "halo/core/random.h"
#include "halo/index/node_order.h"

namespace halo::bench {
namespace {

constexpr std::size_t kNodes = 60000, kEdges = 32, kSide = 17;  // about 12 points a cell
using Point = std::array<float, 3>;

std::size_t cell_of(float x) {
  return std::min(kSide - 1, static_cast<std::size_t>(x * static_cast<float>(kSide)));
}

// The cells next to c along one axis, c's own included.
std::pair<std::size_t, std::size_t> around(std::size_t c) {
  return {c == 0 ? 0 : c - 1, std::min(c + 2, kSide)};
}

float distance(const Point& a, const Point& b) {
  float sum = 0;
  for (std::size_t i = 0; i < 3; ++i) sum += (a[i] - b[i]) * (a[i] - b[i]);
  return sum;
}

}  // namespace

CsrMask neighbour_graph() {
  Random random(11);
  std::vector<Point> points(kNodes);
  std::vector<std::vector<std::uint32_t>> cells(kSide * kSide * kSide);
  for (std::size_t i = 0; i < kNodes; ++i) {
    for (float& x : points[i]) x = static_cast<float>(random.uniform());
    const Point& p = points[i];
    cells[(cell_of(p[0]) * kSide + cell_of(p[1])) * kSide + cell_of(p[2])].push_back(
        static_cast<std::uint32_t>(i));
  }
  std::vector<std::vector<std::uint32_t>> rows(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) {
    std::vector<std::pair<float, std::uint32_t>> near;
    const Point& p = points[i];
    const auto [x0, x1] = around(cell_of(p[0]));
    const auto [y0, y1] = around(cell_of(p[1]));
    const auto [z0, z1] = around(cell_of(p[2]));
    for (std::size_t x = x0; x < x1; ++x) {
      for (std::size_t y = y0; y < y1; ++y) {
        for (std::size_t z = z0; z < z1; ++z) {
          for (const std::uint32_t j : cells[(x * kSide + y) * kSide + z]) {
            if (j != i) near.emplace_back(distance(p, points[j]), j);
          }
        }
      }
    }
    const std::size_t count = std::min(kEdges, near.size());
    std::partial_sort(near.begin(), near.begin() + static_cast<std::ptrdiff_t>(count), near.end());
    for (std::size_t e = 0; e < count; ++e) rows[i].push_back(near[e].second);
  }
  const std::vector<std::uint32_t> order =
      reverse_cuthill_mckee(CsrMask::from_rows(rows, kNodes).view());
  std::vector<std::uint32_t> place(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) place[order[i]] = static_cast<std::uint32_t>(i);
  std::vector<std::vector<std::uint32_t>> ordered(kNodes);
  for (std::size_t i = 0; i < kNodes; ++i) {
    for (const std::uint32_t j : rows[i]) ordered[place[i]].push_back(place[j]);
  }
  return CsrMask::from_rows(std::move(ordered), kNodes);
}

}  // namespace halo::bench
