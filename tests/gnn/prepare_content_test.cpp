#include "halo/gnn/prepare_content.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

std::span<const std::uint32_t> no_global(std::size_t) { return {}; }

CsrMask ring(std::size_t n) {
  std::vector<std::vector<std::uint32_t>> rows(n);
  for (std::uint32_t i = 0; i < n; ++i) {
    rows[i] = {static_cast<std::uint32_t>((i + 1) % n), static_cast<std::uint32_t>((i + 2) % n)};
  }
  return CsrMask::from_rows(std::move(rows), n);
}

TEST(PrepareContent, GivesTheSpectralHeadWeightWhereFewDirectionsDominate) {
  const std::size_t n = 2000, d = 16;
  Matrix flat = test::random_matrix(n, d, 1), skewed = test::random_matrix(n, d, 1);
  for (std::size_t i = 0; i < n; ++i) skewed.row(i)[0] *= 30.0F;
  const auto of_flat = prepare_content(flat, false, ring(n), no_global, {}, Executor(2));
  const auto of_skewed = prepare_content(skewed, false, ring(n), no_global, {}, Executor(2));
  EXPECT_GT(of_flat.flatness, 0.95);
  EXPECT_LT(of_skewed.flatness, 0.1);
  ASSERT_EQ(of_skewed.heads.size(), 2U);
  EXPECT_GT(of_skewed.heads[1].weight, 0.45F);
  for (const auto& parts : {&of_flat, &of_skewed}) {
    float sum = 0;
    for (const ContentHead& head : parts->heads) sum += head.weight;
    EXPECT_NEAR(sum, 1.0F, 1e-6);
  }
}

TEST(PrepareContent, UnitInputIgnoresTheVectorsLengths) {
  const std::size_t n = 200, d = 8;
  const Matrix x = test::random_matrix(n, d, 2);
  Matrix scaled = Matrix::padded(n, d);
  for (std::size_t i = 0; i < n; ++i) {
    std::copy_n(x.row(i), d, scaled.row(i));
    kernels::scale(static_cast<float>(1 + i % 5), scaled.row(i), d);
  }
  const auto a = prepare_content(x, true, ring(n), no_global, {}, Executor(1));
  const auto b = prepare_content(scaled, true, ring(n), no_global, {}, Executor(1));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t c = 0; c < d; ++c) {
      EXPECT_NEAR(bf16_to_float(a.heads[0].states[2].row(i)[c]),
                  bf16_to_float(b.heads[0].states[2].row(i)[c]), 0.01);
    }
  }
}

TEST(PrepareContent, SurvivesOneVectorAndConstantData) {
  Matrix one(1, 3);
  one.row(0)[1] = 2.0F;
  const CsrMask empty_row = CsrMask::from_pairs(1, 1, {});
  auto parts = prepare_content(one, true, empty_row, no_global, {}, Executor(1));
  EXPECT_EQ(parts.flatness, 1.0);
  EXPECT_EQ(parts.heads.size(), 1U);
  parts.edges.assign(kCoherenceEdges, kNoEdge);
  const auto model = RefinementModel::create(std::move(parts));
  RefinementModel::Scratch scratch;
  std::vector<float> scores(1);
  model->score(one.row_span(0), one, std::vector<std::uint32_t>{0}, std::vector<float>{0.0F}, 1.0,
               scratch, scores);
  EXPECT_EQ(scores[0], 0.0F);
}

TEST(PrepareContent, SameBytesAtAnyThreadCount) {
  const Matrix x = test::random_matrix(700, 20, 3);
  const auto one = prepare_content(x, true, ring(700), no_global, {}, Executor(1));
  const auto four = prepare_content(x, true, ring(700), no_global, {}, Executor(4));
  for (std::size_t h = 0; h < one.heads.size(); ++h) {
    for (std::size_t t = 0; t < 3; ++t) {
      const auto a = one.heads[h].states[t].values(), b = four.heads[h].states[t].values();
      EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    }
  }
}

}  // namespace
}  // namespace halo::gnn
