// Whether smoothing will help the queries at hand, judged without labels.
//
// Refinement assumes that a query's nearest vectors form a neighbourhood of the graph, as a base
// vector's do. Coherence measures it: the share of graph edges of a window's members that end
// inside the window. The ratio kappa of the queries' coherence to that of base vectors, searched as
// queries would be, is about 1 where queries are like the base, and below it where their neighbours
// are scattered over the graph (questions against documents): there smoothing mixes what does not
// belong together, and the score falls back to the plain order.
//
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace halo::gnn {

/// Graph edges looked at per window member.
inline constexpr std::size_t kCoherenceEdges = 10;
/// Base vectors searched for the reference value.
inline constexpr std::size_t kCoherenceSample = 2000;
/// Queries needed to measure kappa.
inline constexpr std::size_t kCoherenceQueries = 50;
/// The gate for fewer queries, where none was calibrated: the plain order nearly keeps its say.
inline constexpr double kUnmeasuredGate = 1.0 / 32;
/// Ends a node's edges where it has fewer than were asked for.
inline constexpr std::uint32_t kNoEdge = 0xffffffffU;

/// Share of the edges of `window`'s members that end inside `window`: the first kCoherenceEdges of
/// each member, without those that lead to `left_out` (kNoEdge for none). `edges` holds `stride`
/// nearest neighbours a node, nearest first. 0 without any edge. O(window kCoherenceEdges log
/// window).
double window_coherence(std::span<const std::uint32_t> window, std::span<const std::uint32_t> edges,
                        std::size_t stride, std::uint32_t left_out = kNoEdge);

/// 0 (the plain order) where kappa = query / base is 0.92 or less, 1 where it is 1 or more, linear
/// between.
double harm_gate(double query_coherence, double base_coherence);

}  // namespace halo::gnn
