#include "halo/gnn/harm_gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

#include "halo/core/random.h"

namespace halo::gnn {
namespace {

using Nodes = std::vector<std::uint32_t>;

TEST(HarmGate, OpensFromNineTenthsOfTheBasesCoherence) {
  EXPECT_DOUBLE_EQ(harm_gate(0.5, 0.5), 1.0);
  EXPECT_DOUBLE_EQ(harm_gate(0.8, 0.5), 1.0);
  EXPECT_NEAR(harm_gate(0.48, 0.5), 0.5, 1e-9);
  EXPECT_NEAR(harm_gate(0.46, 0.5), 0.0, 1e-9);
  EXPECT_DOUBLE_EQ(harm_gate(0.1, 0.5), 0.0);
  EXPECT_DOUBLE_EQ(harm_gate(0.5, 0.0), 0.0);
}

TEST(HarmGate, CoherenceCountsTheEdgesThatStayInside) {
  // Four nodes, two edges each; node 3 has one.
  const Nodes edges{1, 2, 0, 2, 0, 3, 0, kNoEdge};
  EXPECT_DOUBLE_EQ(window_coherence(Nodes{0, 1}, edges, 2), 2.0 / 4.0);
  EXPECT_DOUBLE_EQ(window_coherence(Nodes{0, 1, 2}, edges, 2), 5.0 / 6.0);
  EXPECT_DOUBLE_EQ(window_coherence(Nodes{3}, edges, 2), 0.0);
  EXPECT_DOUBLE_EQ(window_coherence(Nodes{2, 3}, edges, 2), 1.0 / 3.0);
  EXPECT_DOUBLE_EQ(window_coherence(Nodes{2, 3}, edges, 2, 0), 1.0);  // edges to node 0 left out
  EXPECT_DOUBLE_EQ(window_coherence({}, edges, 2), 0.0);
}

TEST(HarmGate, HubnessIsTheSkewnessOfInDegrees) {
  EXPECT_DOUBLE_EQ(hubness(Nodes{1, 2, 2, 0, 0, 1}, 3), 0.0);  // two edges lead to each
  // In-degrees 3, 1, 0, 0: deviations 2, 0, -1, -1 from the mean, cubes 6 and squares 6 in all.
  EXPECT_NEAR(hubness(Nodes{1, kNoEdge, 0, 0, 0, kNoEdge}, 4), 6.0 / 4 / std::pow(6.0 / 4, 1.5),
              1e-12);
  EXPECT_DOUBLE_EQ(hubness({}, 0), 0.0);
  // One node that everything is near to, among 100 with even neighbours.
  Nodes edges;
  for (std::uint32_t i = 0; i < 100; ++i) edges.insert(edges.end(), {0, (i + 1) % 100});
  EXPECT_GT(hubness(edges, 100), kMostHubness);
}

TEST(HarmGate, AGraphOfHubsOrWithoutNeighbourhoodsSaysLittle) {
  EXPECT_FALSE(says_little(kMostHubness, kLeastCoherence));
  EXPECT_TRUE(says_little(3.1, 0.5));
  EXPECT_TRUE(says_little(0.0, 0.09));
  EXPECT_EQ(bounded_gate(0.7, kMostHubness, kLeastCoherence), 0.7);
  EXPECT_EQ(bounded_gate(0.7, 3.1, 0.5), kUnmeasuredGate);
  EXPECT_EQ(bounded_gate(0.01, 3.1, 0.5), 0.01);
}

TEST(HarmGate, LeavingOneOutTakesTheNextEdgeInstead) {
  Random random(3);
  constexpr std::size_t kNodes = 40, kStride = kCoherenceEdges + 1;
  Nodes edges;
  for (std::size_t i = 0; i < kNodes; ++i) {
    std::set<std::uint32_t> row;
    while (row.size() < kStride) row.insert(static_cast<std::uint32_t>(random.below(kNodes)));
    edges.insert(edges.end(), row.begin(), row.end());
  }
  for (int round = 0; round < 20; ++round) {
    std::set<std::uint32_t> window;
    while (window.size() < 12) window.insert(static_cast<std::uint32_t>(random.below(kNodes)));
    const auto left_out = static_cast<std::uint32_t>(random.below(kNodes));
    double inside = 0;
    for (const auto member : window) {
      Nodes kept;
      for (std::size_t e = 0; e < kStride; ++e) {
        if (edges[member * kStride + e] != left_out) kept.push_back(edges[member * kStride + e]);
      }
      kept.resize(kCoherenceEdges);
      for (const auto target : kept) inside += window.contains(target) ? 1 : 0;
    }
    EXPECT_NEAR(window_coherence(Nodes(window.begin(), window.end()), edges, kStride, left_out),
                inside / (12.0 * kCoherenceEdges), 1e-12);
  }
}

}  // namespace
}  // namespace halo::gnn
