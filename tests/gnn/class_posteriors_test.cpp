#include "halo/gnn/class_posteriors.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <numeric>
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

// F of the header's equation, dense and in double: labels [n] of two classes of one label each.
std::vector<std::array<double, 2>> reference_masses(const std::vector<std::uint32_t>& labels,
                                                    const WeightedEdges& edges, double reach) {
  const std::size_t n = labels.size();
  std::vector<double> w(n * n, 0.0), degree(n, 0.0);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t e = i * edges.width; e < (i + 1) * edges.width; ++e) {
      if (edges.nodes[e] == kNoNode) continue;
      w[i * n + edges.nodes[e]] += 0.5 * static_cast<double>(edges.weights[e]);
      w[edges.nodes[e] * n + i] += 0.5 * static_cast<double>(edges.weights[e]);
    }
  }
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) degree[i] += w[i * n + j];
  }
  std::vector<std::array<double, 2>> f(n), next(n);
  for (int round = 0; round < 500; ++round) {
    for (std::size_t i = 0; i < n; ++i) {
      for (std::uint32_t c = 0; c < 2; ++c) {
        next[i][c] = labels[i] == c ? 1 - reach : 0.0;
        for (std::size_t j = 0; j < n; ++j) {
          if (w[i * n + j] == 0) continue;
          next[i][c] += reach * w[i * n + j] / std::sqrt(degree[i] * degree[j]) * f[j][c];
        }
      }
    }
    std::swap(f, next);
  }
  return f;
}

// A chain 0 - 1 - 2 - 3; node 2 does not name node 3.
const WeightedEdges kChain{2,
                           {1, kNoNode, 0, 2, 1, kNoNode, 2, kNoNode},
                           {1.0F, 0.0F, 0.5F, 0.5F, 1.0F, 0.0F, 1.0F, 0.0F}};

TEST(PropagateLabels, IsTheFixedPointToThePowerAndLabelsStayThemselves) {
  const std::vector<std::uint32_t> labels = {0, kNoClass, kNoClass, 1};
  const auto masses = reference_masses(labels, kChain, 0.9);
  for (const float power : {1.0F, 2.0F}) {
    PropagationOptions options;
    options.rounds = 200;
    options.power = power;
    const ClassPosteriors posteriors =
        propagate_labels(labels, 2, kChain, options, kNoOpinion, Executor(2));
    EXPECT_DOUBLE_EQ(probability(posteriors, 0, 0), 1.0);
    EXPECT_DOUBLE_EQ(probability(posteriors, 3, 1), 1.0);
    for (std::size_t i = 1; i < 3; ++i) {
      const double first = std::pow(masses[i][0], static_cast<double>(power));
      const double second = std::pow(masses[i][1], static_cast<double>(power));
      EXPECT_NEAR(probability(posteriors, i, 0), first / (first + second), 1e-5);
      EXPECT_NEAR(probability(posteriors, i, 1), second / (first + second), 1e-5);
    }
    EXPECT_EQ(posteriors.classes[1 * kClassesKept], 0U);  // likeliest first
  }
}

TEST(PropagateLabels, ManyLabelsOfOneClassDoNotDrownFewOfAnother) {
  // A ring of 40: class 0 has three labels on one side, class 1 a single one on the other.
  const std::uint32_t n = 40;
  std::vector<std::uint32_t> labels(n, kNoClass), nodes;
  for (std::uint32_t i = 0; i < n; ++i) {
    nodes.push_back((i + 1) % n);
    nodes.push_back((i + n - 1) % n);
  }
  labels[0] = labels[1] = labels[39] = 0;
  labels[20] = 1;
  const WeightedEdges ring{2, nodes, std::vector<float>(2 * n, 0.5F)};
  PropagationOptions options;
  options.rounds = 200;
  const ClassPosteriors posteriors =
      propagate_labels(labels, 2, ring, options, kNoOpinion, Executor(1));
  // One step nearer to class 1; by counts alone class 0 would have it.
  EXPECT_GT(probability(posteriors, 11, 1), 0.5);
}

TEST(PropagateLabels, UnreachedNodesTakeTheGivenOpinion) {
  const std::vector<std::uint32_t> labels(3, kNoClass);
  const WeightedEdges none{1, {kNoNode, kNoNode, kNoNode}, {0, 0, 0}};
  const ClassPosteriors posteriors = propagate_labels(
      labels, 20, none, {},
      [](std::size_t begin, std::size_t, const MatrixSpan& out) {
        for (std::size_t i = 0; i < out.rows; ++i) out.row(i)[begin + i + 10] = 30.0F;
      },
      Executor(1));
  for (std::uint32_t i = 0; i < 3; ++i) EXPECT_NEAR(probability(posteriors, i, i + 10), 1.0, 1e-5);
  EXPECT_EQ(posteriors.rows(), 3U);
}

TEST(ClassShares, AreEqualWhereChanceExplainsTheCountsAndTheCountsWhereItDoesNot) {
  const std::vector<std::size_t> even = {5, 5, 5, 5}, chance = {3, 6, 4, 7},
                                 uneven = {9000, 900, 90, 10}, nothing = {0, 0};
  for (const double share : class_shares(even)) EXPECT_DOUBLE_EQ(share, 0.25);
  for (const double share : class_shares(chance)) EXPECT_DOUBLE_EQ(share, 0.25);
  for (const double share : class_shares(nothing)) EXPECT_DOUBLE_EQ(share, 0.5);
  const std::vector<double> shares = class_shares(uneven);
  for (std::size_t c = 0; c < uneven.size(); ++c) {
    EXPECT_NEAR(shares[c], static_cast<double>(uneven[c]) / 10000, 1e-4);
  }
  EXPECT_NEAR(std::accumulate(shares.begin(), shares.end(), 0.0), 1.0, 1e-12);
  EXPECT_TRUE(class_shares({}).empty());
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
  const auto one = propagate_labels(labels, 13, edges, {}, kNoOpinion, Executor(1));
  const auto two = propagate_labels(labels, 13, edges, {}, kNoOpinion, Executor(2));
  EXPECT_EQ(one.classes, two.classes);
  EXPECT_EQ(one.roots, two.roots);
  labels[3] = 13;
  test::expect_error(ErrorCode::kInvalidArgument, "label 13",
                     [&] { propagate_labels(labels, 13, edges, {}, kNoOpinion, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
