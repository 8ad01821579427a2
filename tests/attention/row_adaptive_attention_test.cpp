#include "halo/attention/row_adaptive_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "halo/core/random.h"
#include "support/row_adaptive_reference.h"
#include "support/test_support.h"

namespace halo::attention {
namespace {

CsrMask random_mask(std::size_t rows, std::size_t columns, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<std::uint32_t>> lists(rows);
  for (auto& list : lists) {
    const std::size_t length = columns == 0 ? 0 : random.below(10);  // some rows stay empty
    for (std::size_t e = 0; e < length; ++e) {
      list.push_back(static_cast<std::uint32_t>(random.below(columns)));
    }
  }
  return CsrMask::from_rows(std::move(lists), columns);
}

TEST(RowAdaptiveAttention, AgreesWithTheFormulaAtAwkwardShapes) {
  const Executor one(1), four(4);
  for (const std::size_t n : {0U, 1U, 3U, 130U}) {
    for (const std::size_t d : {1U, 7U, 33U}) {
      const Matrix q = test::random_matrix(n, d, 1), k = test::random_matrix(n + 5, d, 2);
      const Matrix v = test::random_matrix(n + 5, d + 2, 3);
      const CsrMask mask = random_mask(n, n + 5, 4);
      Matrix out(n, d + 2), again(n, d + 2);
      row_adaptive_attention(q, k, v, mask, 4.0F, out, one);
      row_adaptive_attention(q, k, v, mask, 4.0F, again, four);
      for (std::size_t i = 0; i < n; ++i) {
        const auto expected = test::row_adaptive_row(q.row(i), k, v, mask.row(i), 4.0);
        for (std::size_t c = 0; c < d + 2; ++c) ASSERT_NEAR(out.row(i)[c], expected[c], 2e-5);
        EXPECT_EQ(std::memcmp(out.row(i), again.row(i), (d + 2) * sizeof(float)), 0);
      }
    }
  }
}

TEST(RowAdaptiveAttention, WeightsSumToOneAndSpanTheSharpness) {
  std::vector<float> scores{0.1F, 0.9F, 0.5F};
  row_adaptive_weights(scores, 4.0F);
  EXPECT_NEAR(scores[0] + scores[1] + scores[2], 1.0F, 1e-6);
  EXPECT_NEAR(scores[1] / scores[0], std::exp(4.0F), 1e-2);
  std::vector<float> equal{0.3F, 0.3F};
  row_adaptive_weights(equal, 4.0F);
  EXPECT_EQ(equal[0], 0.5F);
  row_adaptive_weights({}, 4.0F);
}

TEST(RowAdaptiveAttention, RefusesShapesThatDoNotFit) {
  const Executor one(1);
  const Matrix q = test::random_matrix(2, 3, 1), wide = test::random_matrix(2, 4, 1);
  const CsrMask mask = random_mask(2, 2, 1), tall = random_mask(3, 2, 1);
  Matrix out(2, 3);
  const auto refused = [&](const MatrixView& keys, const CsrMask& m, const char* text) {
    test::expect_error(ErrorCode::kDimensionMismatch, text,
                       [&] { row_adaptive_attention(q, keys, keys, m, 4.0F, out, one); });
  };
  refused(wide, mask, "dimension");
  refused(q, tall, "mask rows");
  refused(q.view().sub_rows(0, 1), mask, "mask columns");
}

}  // namespace
}  // namespace halo::attention
