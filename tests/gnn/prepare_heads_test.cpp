#include "halo/gnn/prepare_heads.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/query_refinement.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

std::span<const std::uint32_t> no_global(std::size_t) { return {}; }

// The exact nearest by cosine, as an index would find them.
CsrMask nearest_windows(const MatrixView& x, std::size_t width) {
  std::vector<std::vector<std::uint32_t>> rows(x.rows);
  for (std::size_t i = 0; i < x.rows; ++i) {
    std::vector<std::pair<float, std::uint32_t>> order;
    for (std::uint32_t j = 0; j < x.rows; ++j) {
      if (j != i) order.emplace_back(-kernels::dot(x.row(i), x.row(j), x.cols), j);
    }
    const std::size_t kept = std::min(width, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept),
                      order.end());
    for (std::size_t e = 0; e < kept; ++e) rows[i].push_back(order[e].second);
    std::sort(rows[i].begin(), rows[i].end());
  }
  return CsrMask::from_rows(std::move(rows), x.rows);
}

// Points along closed curves, one a class, shifted along one direction that has nothing to do with
// the classes.
Matrix shifted_curves(std::size_t n) {
  constexpr std::size_t kDim = 40, kCurves = 4;
  const Matrix axes = test::random_matrix(3 * kCurves, kDim, 5),
               shift = test::random_matrix(n, 1, 6);
  Matrix x = Matrix::padded(n, kDim);
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t curve = i % kCurves;
    const double angle = 6.283185307 * static_cast<double>(i) / static_cast<double>(n);
    const float weights[3] = {1.0F, static_cast<float>(std::cos(angle)),
                              static_cast<float>(std::sin(angle))};
    for (std::size_t c = 0; c < kDim; ++c) {
      for (std::size_t a = 0; a < 3; ++a) {
        x.row(i)[c] += weights[a] * axes.row(3 * curve + a)[c];
      }
    }
    x.row(i)[0] += 3.0F * shift.row(i)[0];
  }
  return x;
}

TEST(PrepareHeads, WhitensWhereFewDirectionsDominateAndTheGraphStaysTransitive) {
  const Matrix skewed = shifted_curves(600), flat = test::random_matrix(600, 40, 1);
  RefineOptions roomy;
  roomy.memory_share = 100;
  const auto of_skewed =
      prepare_heads(skewed, true, nearest_windows(skewed, 64), no_global, roomy, Executor(2));
  EXPECT_LT(of_skewed.flatness, 0.4);
  EXPECT_GT(of_skewed.transitivity_ratio, 1.05);
  EXPECT_EQ(of_skewed.heads.back().name, "g");
  EXPECT_EQ(of_skewed.heads.back().content_share, 0.0F);

  const auto of_flat =
      prepare_heads(flat, true, nearest_windows(flat, 64), no_global, {}, Executor(2));
  EXPECT_GT(of_flat.flatness, 0.8);
  ASSERT_EQ(of_flat.heads.size(), 1U);
  EXPECT_EQ(of_flat.heads[0].name, "c");
  EXPECT_GT(of_flat.heads[0].content_share, 0.5F);
  for (const auto& parts : {&of_skewed, &of_flat}) {
    float sum = 0;
    for (const RefinementHead& head : parts->heads) sum += head.weight;
    EXPECT_NEAR(sum, 1.0F, 1e-6);
  }
}

TEST(PrepareHeads, UnitInputIgnoresTheVectorsLengths) {
  const std::size_t n = 200, d = 8;
  const Matrix x = test::random_matrix(n, d, 2);
  Matrix scaled = Matrix::padded(n, d);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(x.row(i), d, scaled.row(i));
    kernels::scale(static_cast<float>(1 + i % 5), scaled.row(i), d);
  }
  const CsrMask wide = nearest_windows(x, 64);
  const auto a = prepare_heads(x, true, wide, no_global, {}, Executor(1));
  const auto b = prepare_heads(scaled, true, wide, no_global, {}, Executor(1));
  std::vector<float> u(d), v(d);
  for (std::size_t i = 0; i < n; ++i) {
    a.heads[0].states.copy_row(i, u.data());
    b.heads[0].states.copy_row(i, v.data());
    for (std::size_t c = 0; c < d; ++c) EXPECT_NEAR(u[c], v[c], 0.02);
  }
}

TEST(PrepareHeads, ThresholdsAreTheSimilarityToTheFarthestOfTheWindow) {
  const Matrix x = test::clustered_matrix(150, 10, 5, 0.4F, 3);
  const auto parts = prepare_heads(x, true, nearest_windows(x, 64), no_global, {}, Executor(1));
  const RefinementHead& head = parts.heads[0];
  Matrix view(150, head.projection.out_dim()), unit = Matrix::copy_of(x);
  for (std::size_t i = 0; i < 150; ++i) kernels::normalise(unit.row(i), 10);
  head.projection.apply(unit, view, Executor(1));
  for (std::size_t i = 0; i < 150; ++i) {
    std::vector<float> all, state(view.cols());
    for (std::size_t j = 0; j < 150; ++j) {
      head.states.copy_row(j, state.data());
      if (j != i) all.push_back(kernels::dot(view.row(i), state.data(), view.cols()));
    }
    std::sort(all.rbegin(), all.rend());
    // The window is the head's 20 nearest before attention, so not quite the nearest states.
    EXPECT_LE(head.threshold(i), all[19] + 0.02F);
    EXPECT_GE(head.threshold(i), all.back() - 0.02F);
  }
}

TEST(PrepareHeads, TakesHeadsOfTheCallersChoice) {
  const Matrix x = test::random_matrix(100, 6, 3);
  const Spectrum spectrum = covariance_spectrum(x, 100, Executor(1));
  const std::vector<HeadPlan> plans = {{"a", 0.25F, 0.5F, centred_projection(spectrum)},
                                       {"b", 0.75F, 0.0F, spectral_projection(spectrum, 4)}};
  const auto parts =
      prepare_heads(x, true, nearest_windows(x, 64), no_global, {}, plans, Executor(1));
  ASSERT_EQ(parts.heads.size(), 2U);
  EXPECT_EQ(parts.heads[1].name, "b");
  EXPECT_EQ(parts.heads[1].states.cols(), 4U);
  EXPECT_EQ(parts.heads[0].content_share, 0.5F);
  test::expect_error(ErrorCode::kInvalidArgument, "one head", [&] {
    prepare_heads(x, true, nearest_windows(x, 64), no_global, {}, std::span<const HeadPlan>(),
                  Executor(1));
  });
}

TEST(PrepareHeads, KeepsAShareOfTheEntriesWhereAskedTo) {
  const Matrix x = test::clustered_matrix(300, 12, 10, 0.6F, 3);
  const CsrMask wide = nearest_windows(x, 64);
  const RefinementParts all = prepare_heads(x, true, wide, no_global, {}, Executor(1));
  EXPECT_EQ(all.heads[0].bars, EntryBars());
  RefineOptions options;
  options.entries.share = 0.5F;
  const RefinementParts half = prepare_heads(x, true, wide, no_global, options, Executor(1));
  const RefinementHead& head = half.heads[0];
  EXPECT_NE(head.bars.content, head.bars.structure);
  std::size_t other = 0;
  for (std::size_t i = 0; i < 300; ++i) {
    other += std::ranges::equal(head.structure.row(i), all.heads[0].structure.row(i)) ? 0U : 1U;
  }
  EXPECT_GT(other, 200U);
  // Bars that are given stand, at any number of threads.
  std::vector<HeadPlan> plans;
  for (const RefinementHead& h : half.heads) {
    plans.push_back({h.name, h.weight, h.content_share, h.projection, h.bars});
  }
  const auto again = prepare_heads(x, true, wide, no_global, half.options, plans, Executor(3));
  for (std::size_t h = 0; h < half.heads.size(); ++h) {
    EXPECT_EQ(again.heads[h].bars, half.heads[h].bars);
    EXPECT_EQ(again.heads[h].thresholds, half.heads[h].thresholds);
    for (std::size_t i = 0; i < 300; ++i) {
      ASSERT_TRUE(
          std::ranges::equal(again.heads[h].structure.row(i), half.heads[h].structure.row(i)));
    }
  }
  options.entries.share = 0.0F;
  test::expect_error(ErrorCode::kInvalidArgument, "share",
                     [&] { prepare_heads(x, true, wide, no_global, options, Executor(1)); });
}

TEST(PrepareHeads, SurvivesOneVectorAndConstantData) {
  for (const std::size_t n : {1U, 2U, 5U}) {
    Matrix same = Matrix::padded(n, 3);
    for (std::size_t i = 0; i < n; ++i) same.row(i)[1] = 2.0F;
    auto parts = prepare_heads(same, true, nearest_windows(same, 64), no_global, {}, Executor(1));
    parts.edges.assign(n * kCoherenceEdges, kNoEdge);
    const auto model = RefinementModel::create(std::move(parts));
    QueryScratch scratch;
    std::vector<ScoredNode> scored;
    refine_query(*model, same.row_span(0), std::vector<std::uint32_t>{0}, std::vector<float>{0.0F},
                 label_free_weights(*model, 1.0), {}, scratch, scored);
    ASSERT_GE(scored.size(), 1U);
    for (const ScoredNode& s : scored) EXPECT_TRUE(s.score >= 0 && s.score <= 1) << n;
  }
}

TEST(PrepareHeads, SameBytesAtAnyThreadCount) {
  const Matrix x = shifted_curves(500);
  const CsrMask wide = nearest_windows(x, 64);
  const auto one = prepare_heads(x, true, wide, no_global, {}, Executor(1));
  const auto four = prepare_heads(x, true, wide, no_global, {}, Executor(4));
  ASSERT_EQ(one.heads.size(), four.heads.size());
  for (std::size_t h = 0; h < one.heads.size(); ++h) {
    const RefinementHead &a = one.heads[h], &b = four.heads[h];
    EXPECT_EQ(a.weight, b.weight);
    EXPECT_EQ(a.thresholds, b.thresholds);
    for (std::size_t i = 0; i < 500; ++i) {
      EXPECT_TRUE(std::ranges::equal(a.structure.row(i), b.structure.row(i)));
      EXPECT_TRUE(std::equal(a.states.row(i), a.states.row(i) + a.states.cols(), b.states.row(i)));
    }
  }
}

}  // namespace
}  // namespace halo::gnn
