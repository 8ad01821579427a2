#include "halo/attention/reference.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention_test_support.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

// Two keys, worked by hand: logits 2 and 0, so the first weighs e^2 / (e^2 + 1).
TEST(Reference, AgreesWithAHandComputedExample) {
  const float q[] = {1, 0}, k[] = {4, 1, 0, 1}, v[] = {1, 10, 3, 30};
  const std::vector<double> out =
      reference::standard_attention({q, 1, 2}, {k, 2, 2}, {v, 2, 2}, 0.5);
  const double first = std::exp(2.0) / (std::exp(2.0) + 1.0);
  EXPECT_NEAR(out[0], first * 1 + (1 - first) * 3, 1e-12);
  EXPECT_NEAR(out[1], first * 10 + (1 - first) * 30, 1e-12);
}

TEST(Reference, FullMasksWindowsAndGlobalsAreDenseAttention) {
  const Matrix q = test::random_matrix(6, 5, 1), k = test::random_matrix(6, 5, 2),
               v = test::random_matrix(6, 3, 3);
  const auto dense = reference::standard_attention(q, k, v, 0.7);
  EXPECT_EQ(reference::csr_attention(q, k, v, SparseMask::local_window(6, 6), 0.7), dense);
  EXPECT_EQ(reference::window_attention(q, k, v, 5, 0.7), dense);
  const std::vector<std::uint32_t> all{5, 4, 3, 2, 1, 0, 0};
  EXPECT_EQ(reference::global_attention(q, k, v, all, 0.7), dense);
  EXPECT_EQ(reference::global_attention(q, k, v, {}, 0.7), std::vector<double>(18, 0.0));
}

}  // namespace
}  // namespace halo::attention
