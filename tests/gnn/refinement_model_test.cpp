#include "halo/gnn/refinement_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_content.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRows = 300, kDim = 24;

struct Fixture {
  Matrix vectors = test::clustered_matrix(kRows, kDim, 12, 0.4F, 5);
  CsrMask windows;
  RefinementParts parts;

  explicit Fixture(float global_gate = 0.0F) {
    for (std::size_t i = 0; i < kRows; ++i) kernels::normalise(vectors.row(i), kDim);
    std::vector<std::vector<std::uint32_t>> rows(kRows);
    for (std::size_t i = 0; i < kRows; ++i) {
      const auto order = nearest(vectors.row(i), kRows);
      rows[i].assign(order.begin() + 1, order.begin() + 17);
    }
    windows = CsrMask::from_rows(std::move(rows), kRows);
    RefineOptions options;
    options.window = 16;
    options.spectral_rank = 10;
    options.layer.global_gate = global_gate;
    static const std::vector<std::uint32_t> global{3, 50, 200};
    parts = prepare_content(
        vectors, true, windows, [](std::size_t) { return std::span<const std::uint32_t>(global); },
        options, Executor(1));
    parts.edges.assign(kRows * kCoherenceEdges, kNoEdge);
    parts.base_coherence = 0.5;
  }

  std::vector<std::uint32_t> nearest(const float* query, std::size_t count) const {
    std::vector<std::uint32_t> order(kRows);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return kernels::dot(query, vectors.row(a), kDim) > kernels::dot(query, vectors.row(b), kDim);
    });
    order.resize(count);
    return order;
  }
};

std::vector<double> z(const std::vector<double>& s) {
  std::vector<double> sorted = s;
  std::sort(sorted.rbegin(), sorted.rend());
  const double zero = sorted[std::min<std::size_t>(100, sorted.size() - 1)];
  std::vector<double> out;
  for (const double v : s) out.push_back(sorted[0] > zero ? (v - zero) / (sorted[0] - zero) : 0.0);
  return out;
}

// The scores by the formulas, from the model's stored parts, without its code.
std::vector<double> reference_scores(const Fixture& f, std::span<const float> query,
                                     const std::vector<std::uint32_t>& candidates,
                                     const std::vector<float>& distances, double gate) {
  std::vector<double> plain;
  for (const float distance : distances) plain.push_back(-double{distance});
  std::vector<double> total = z(plain);
  for (double& v : total) v = 2.0 * std::pow(std::max(v, 0.0), 4);
  for (const ContentHead& head : f.parts.heads) {
    const std::size_t dim = head.projection.out_dim();
    const Executor executor(1);
    Matrix x(1, dim), base(kRows, dim);
    head.projection.apply(MatrixView(query.data(), 1, kDim), x, executor);
    head.projection.apply(f.vectors, base, executor);
    for (std::size_t t = 0; t < 2; ++t) {
      Matrix next(kRows, dim);
      ContentLayer layer(f.parts.options.layer);
      layer.update_global_indices(f.parts.global_nodes[t]);
      layer.forward(base, f.windows, next, executor);
      Matrix window(std::min<std::size_t>(16, candidates.size()), dim), global(3, dim);
      for (std::size_t i = 0; i < window.rows(); ++i) {
        std::copy_n(base.row(candidates[i]), dim, window.row(i));
      }
      for (std::size_t i = 0; i < 3; ++i) {
        std::copy_n(base.row(f.parts.global_nodes[t][i]), dim, global.row(i));
      }
      std::vector<float> scratch(dim);
      layer.forward_row({x.row(0), dim}, window, global, scratch);
      base = std::move(next);
    }
    std::vector<double> content;
    for (const auto c : candidates) content.push_back(kernels::dot(x.row(0), base.row(c), dim));
    const auto scaled = z(content);
    for (std::size_t i = 0; i < total.size(); ++i) total[i] += gate * head.weight * scaled[i];
  }
  return total;
}

TEST(RefinementModel, ScoresFollowTheFormula) {
  for (const float global_gate : {0.0F, 0.3F}) {
    const Fixture f(global_gate);
    ASSERT_EQ(f.parts.heads.size(), 2U);
    const auto model = RefinementModel::create(Fixture(global_gate).parts);
    const Matrix queries = test::clustered_matrix(8, kDim, 4, 0.4F, 77);
    for (const std::size_t count : {1U, 2U, 60U, 200U}) {
      for (const double gate : {0.0, 0.4, 1.0}) {
        for (std::size_t q = 0; q < 8; ++q) {
          std::vector<float> query(queries.row(q), queries.row(q) + kDim);
          kernels::normalise(query.data(), kDim);
          const auto candidates = f.nearest(query.data(), count);
          std::vector<float> distances;
          for (const auto c : candidates) {
            distances.push_back(1.0F - kernels::dot(query.data(), f.vectors.row(c), kDim));
          }
          const auto expected = reference_scores(f, query, candidates, distances, gate);
          RefinementModel::Scratch scratch;
          std::vector<float> scores(count);
          // Cosine does not see the query's length.
          for (float& v : query) v *= 3.0F;
          model->score(query, f.vectors, candidates, distances, gate, scratch, scores);
          for (std::size_t i = 0; i < count; ++i) {
            EXPECT_NEAR(scores[i], expected[i], 0.03) << "bfloat16 states";
          }
        }
        if (count > 60) break;
      }
    }
  }
}

TEST(RefinementModel, AClosedGateKeepsThePlainOrder) {
  const Fixture f;
  const auto model = RefinementModel::create(Fixture().parts);
  const auto candidates = f.nearest(f.vectors.row(9), 100);
  std::vector<float> distances, scores(100);
  for (const auto c : candidates) {
    distances.push_back(1.0F - kernels::dot(f.vectors.row(9), f.vectors.row(c), kDim));
  }
  RefinementModel::Scratch scratch;
  model->score(f.vectors.row_span(9), f.vectors, candidates, distances, 0.0, scratch, scores);
  EXPECT_TRUE(std::is_sorted(scores.rbegin(), scores.rend()));
  model->score(f.vectors.row_span(9), f.vectors, {}, {}, 1.0, scratch, {});
}

TEST(RefinementModel, AttentionWeightsSumToOneOverTheWindow) {
  const Fixture f;
  const auto model = RefinementModel::create(Fixture().parts);
  for (std::size_t head = 0; head < 2; ++head) {
    for (std::size_t layer = 0; layer < 2; ++layer) {
      const auto weights = model->attention_weights(head, layer, 12, f.windows.row(12), f.vectors);
      EXPECT_EQ(weights.size(), 16U);
      EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0F), 1.0F, 1e-5);
    }
  }
}

TEST(RefinementModel, RefusesPartsThatDoNotFit) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [](const char* text, auto&& spoil) {
    Fixture f;
    spoil(f.parts);
    test::expect_error(ErrorCode::kCorrupt, text,
                       [&] { RefinementModel::create(std::move(f.parts)); });
  };
  refused("no vectors", [](auto& p) { p.size = 0; });
  refused("no head", [](auto& p) { p.heads.clear(); });
  refused("10 edges", [](auto& p) { p.edges.pop_back(); });
  refused("outside the index", [](auto& p) { p.edges[3] = kRows; });
  refused("coherence", [&](auto& p) { p.base_coherence = nan; });
  refused("spectrum", [&](auto& p) { p.flatness = nan; });
  refused("calibrated gate", [](auto& p) { p.calibrated_gate = 2.0; });
  refused("global nodes", [](auto& p) { p.global_nodes.pop_back(); });
  refused("global node", [](auto& p) { p.global_nodes[0].push_back(kRows); });
  refused("weight", [&](auto& p) { p.heads[0].weight = nan; });
  refused("dimension",
          [](auto& p) { p.heads[0].projection = Projection(std::vector<float>(3), Matrix()); });
  refused("mean", [&](auto& p) {
    p.heads[0].projection = Projection(std::vector<float>(kDim, nan), Matrix());
  });
  refused("one state more", [](auto& p) { p.heads[1].states.pop_back(); });
  refused("not stored", [](auto& p) { p.heads[0].states[0] = HalfMatrix(kRows, kDim); });
  refused("another shape", [](auto& p) { p.heads[1].states[0] = HalfMatrix(kRows, kDim); });
  refused("not finite", [](auto& p) { p.heads[1].states[2].row(7)[3] = 0x7fc0; });
  refused("layers must be", [](auto& p) { p.options.layers = 9; });
}

TEST(RefineOptions, RefusesValuesOutOfRange) {
  const auto refused = [](const char* text, auto&& spoil) {
    RefineOptions options;
    spoil(options);
    test::expect_error(ErrorCode::kInvalidArgument, text, [&] { options.validate(); });
  };
  refused("window", [](auto& o) { o.window = 5000; });
  refused("layers", [](auto& o) { o.layers = 0; });
  refused("sharpness", [](auto& o) { o.layer.sharpness = -1; });
  refused("neighbour_share", [](auto& o) { o.layer.neighbour_share = 1.5F; });
  refused("global_gate",
          [](auto& o) { o.layer.global_gate = std::numeric_limits<float>::infinity(); });
  refused("spectral_rank", [](auto& o) { o.spectral_rank = 0; });
}

}  // namespace
}  // namespace halo::gnn
