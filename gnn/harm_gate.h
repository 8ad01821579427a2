// Whether smoothing will help the queries at hand, judged without labels.
//
// Refinement assumes that a query's nearest vectors form a neighbourhood of the graph, as a base
// vector's do. Coherence measures it: the share of graph edges of a window's members that end
// inside the window. The ratio kappa of the queries' coherence to that of base vectors' own
// windows is about 1 where queries are like the base, and below it where their neighbours
// are scattered over the graph (questions against documents): there smoothing mixes what does not
// belong together, and the score falls back to the plain order.
//
// Refinement also assumes that walks which meet say something. In a graph with hubs, nodes that are
// near to much else without belonging to it, walks meet at the hubs whoever set out. The skewness
// of how many nodes each node is near to measures them (Radovanovic, Nanopoulos, Ivanovic, "Hubs in
// Space", JMLR 2010). And in a graph whose own windows keep hardly any of their edges, as among
// vectors without structure, walks only lose their way. Above kMostHubness and below
// kLeastCoherence the gate opens no further than kUnmeasuredGate.
//
// A gate of at most kUnmeasuredGate holds the first kHeld places in the plain order: the graph
// orders what comes after them.
//
// Thread-safe: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace halo::gnn {

/// Graph edges looked at per window member.
inline constexpr std::size_t kCoherenceEdges = 10;
/// Base vectors whose windows give the reference value.
inline constexpr std::size_t kCoherenceSample = 2000;
/// Queries needed to measure kappa.
inline constexpr std::size_t kCoherenceQueries = 50;
/// The gate for fewer queries, where none was calibrated: the plain order nearly keeps its say.
inline constexpr double kUnmeasuredGate = 1.0 / 32;
/// Places that a gate of at most kUnmeasuredGate leaves as they are.
inline constexpr std::size_t kHeld = 10;
/// Skewness of the in-degrees above which a graph has hubs. Sets where refinement gained had up to
/// 2.6, sets of text where it lost first places 3.3 and more.
inline constexpr double kMostHubness = 3.0;
/// Coherence of the base below which its graph says little. Directions drawn evenly in 32 to 512
/// dimensions have 0.02 to 0.1 (5,000 of them), embeddings, pictures and texts 0.27 and more.
inline constexpr double kLeastCoherence = 0.1;
/// Ends a node's edges where it has fewer than were asked for.
inline constexpr std::uint32_t kNoEdge = 0xffffffffU;

/// Share of the edges of `window`'s members that end inside `window`: the first kCoherenceEdges of
/// each member, without those that lead to `left_out` (kNoEdge for none). `edges` holds `stride`
/// nearest neighbours a node, nearest first. 0 without any edge. O(window kCoherenceEdges).
double window_coherence(std::span<const std::uint32_t> window, std::span<const std::uint32_t> edges,
                        std::size_t stride, std::uint32_t left_out = kNoEdge);

/// Skewness (third standardised moment) of the numbers of edges that lead to each of the `nodes`
/// nodes; 0 where all have as many. O(edges + nodes).
double hubness(std::span<const std::uint32_t> edges, std::size_t nodes);

/// 0 (the plain order) where kappa = query / base is 0.92 or less, 1 where it is 1 or more, linear
/// between.
double harm_gate(double query_coherence, double base_coherence);

/// Whether the graph itself may say no more than kUnmeasuredGate lets it.
constexpr bool says_little(double hubness, double base_coherence) {
  return hubness > kMostHubness || base_coherence < kLeastCoherence;
}

/// `gate`, as far as the graph lets it open.
constexpr double bounded_gate(double gate, double hubness, double base_coherence) {
  return says_little(hubness, base_coherence) ? std::min(gate, kUnmeasuredGate) : gate;
}

}  // namespace halo::gnn
