#include "halo/gnn/class_posteriors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

const auto kNoOpinion = [](std::size_t, std::size_t, const MatrixSpan&) {};

double probability(const ClassPosteriors& posteriors, std::size_t row, std::uint32_t label) {
  for (std::size_t k = row * kClassesKept; k < (row + 1) * kClassesKept; ++k) {
    if (posteriors.classes[k] == label) {
      return static_cast<double>(posteriors.roots[k]) * posteriors.roots[k];
    }
  }
  return 0;
}

TEST(AttentionEdges, RowsSumToOneAndOneSidedEdgesCountLess) {
  // 0 and 1 name each other; 2 names 0, which does not name it.
  const std::vector<std::uint32_t> windows = {1, kNoNode, 0, 2, 1, 0};
  const std::vector<float> cosines = {0.9F, 0, 0.9F, 0.5F, 0.8F, 0.8F};
  const WeightedEdges edges = attention_edges(windows, cosines, 2, 2, 2.0F, Executor(1));
  EXPECT_FLOAT_EQ(edges.weights[0], 1.0F);
  EXPECT_EQ(edges.nodes[1], kNoNode);
  EXPECT_FLOAT_EQ(edges.weights[2] + edges.weights[3], 1.0F);
  EXPECT_GT(edges.weights[2], edges.weights[3]);
  // Equal cosines: node 1 answers, node 0 does not.
  EXPECT_NEAR(edges.weights[5] / edges.weights[4], 0.3F, 1e-5);
}

TEST(PropagateLabels, LabelsReachTheirNeighboursAndStayThemselves) {
  // A chain 0 - 1 - 2 - 3 with different labels at its ends.
  WeightedEdges chain{
      2, {1, kNoNode, 0, 2, 1, 3, 2, kNoNode}, {1.0F, 0.0F, 0.5F, 0.5F, 0.5F, 0.5F, 1.0F, 0.0F}};
  const std::vector<std::uint32_t> labels = {0, kNoClass, kNoClass, 1};
  const ClassPosteriors posteriors =
      propagate_labels(labels, 2, chain, 100, kNoOpinion, Executor(2));
  EXPECT_DOUBLE_EQ(probability(posteriors, 0, 0), 1.0);
  EXPECT_DOUBLE_EQ(probability(posteriors, 3, 1), 1.0);
  // The harmonic function: 2/3 and 1/3.
  EXPECT_NEAR(probability(posteriors, 1, 0), 2.0 / 3, 1e-4);
  EXPECT_NEAR(probability(posteriors, 2, 0), 1.0 / 3, 1e-4);
  EXPECT_EQ(posteriors.classes[1 * kClassesKept], 0U);  // likeliest first
}

TEST(PropagateLabels, StartsAtTheGivenOpinionAndKeepsTheLikeliest) {
  const std::vector<std::uint32_t> labels(3, kNoClass);
  const WeightedEdges none{1, {kNoNode, kNoNode, kNoNode}, {0, 0, 0}};
  const ClassPosteriors posteriors = propagate_labels(
      labels, 20, none, 0,
      [](std::size_t begin, std::size_t, const MatrixSpan& out) {
        for (std::size_t i = 0; i < out.rows; ++i) out.row(i)[begin + i + 10] = 30.0F;
      },
      Executor(1));
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_NEAR(probability(posteriors, i, i + 10), 1.0, 1e-5);
  EXPECT_EQ(posteriors.rows(), 3U);
}

TEST(PropagateLabels, SameBytesAtAnyThreadCountAndRefusesUnknownClasses) {
  const std::uint32_t n = 1000;
  std::vector<std::uint32_t> labels(n, kNoClass), nodes;
  std::vector<float> weights(2 * n, 0.5F);
  for (std::uint32_t i = 0; i < n; ++i) {
    if (i % 7 == 0) labels[i] = i % 13;
    nodes.push_back((i * 17 + 1) % n);
    nodes.push_back((i * 5 + 3) % n);
  }
  const WeightedEdges edges{2, nodes, weights};
  const auto one = propagate_labels(labels, 13, edges, 10, kNoOpinion, Executor(1));
  const auto two = propagate_labels(labels, 13, edges, 10, kNoOpinion, Executor(2));
  EXPECT_EQ(one.classes, two.classes);
  EXPECT_EQ(one.roots, two.roots);
  labels[3] = 13;
  test::expect_error(ErrorCode::kInvalidArgument, "label 13",
                     [&] { propagate_labels(labels, 13, edges, 1, kNoOpinion, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
