// Whether smoothing will help the queries at hand, judged without labels.
//
// Refinement assumes that queries lie among the base vectors as base vectors lie among each other.
// Reciprocity measures it: how often is a query at least as near to one of its 10 nearest vectors
// as that vector's own 10th neighbour is? The ratio rho of the queries' reciprocity to that of
// held-out base vectors is 1 where queries are like the base, and far from 1 where they are not
// (questions against documents): there the score falls back to the plain order.
//
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace halo::gnn {

inline constexpr std::size_t kReciprocityNeighbours = 10;
/// Queries needed to measure rho.
inline constexpr std::size_t kReciprocityQueries = 50;
/// The gate for fewer queries, where none was calibrated: nearly the plain order.
inline constexpr double kUnmeasuredGate = 0.0625;

/// Counts reciprocal neighbours over many queries.
struct Reciprocity {
  std::size_t hits = 0, total = 0;

  /// Adds the nearest (at most 10) of one query: nodes, nearest first, their distances, and every
  /// base vector's reach.
  void add(std::span<const std::uint32_t> nearest, std::span<const float> distances,
           std::span<const float> reach);
  double value() const {
    return total == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(total);
  }
};

/// 1 where rho = queries / base is 1, falling to 0 where it is 0.2 away; 0 where the base has no
/// reciprocity.
double harm_gate(double query_reciprocity, double base_reciprocity);

}  // namespace halo::gnn
