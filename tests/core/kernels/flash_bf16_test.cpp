// Flash attention's forward pass with keys and values stored as bfloat16, or everything rounded:
// within its bounds with and without products of bfloat16 in hardware.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/every_half_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/attention_reference.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/gemm.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

struct Case {
  std::size_t n, m, d, dv, heads;
  std::size_t window = FlashOptions::kNoWindow;
};

struct Data {
  explicit Data(const Case& c)
      : q(test::random_matrix(c.n, c.heads * c.d, 1)),
        k(test::random_matrix(c.m, c.heads * c.d, 2)),
        v(test::random_matrix(c.m, c.heads * c.dv, 3)) {}
  Matrix q, k, v;
};

// Forward in bfloat16: keys and values stored so, or everything rounded where options.half.
void expect_half_right(const Case& c, const char* isa) {
  SCOPED_TRACE(testing::Message() << isa << " n=" << c.n << " m=" << c.m << " d=" << c.d
                                  << " dv=" << c.dv << " window=" << c.window);
  const Executor one(1), four(4);
  const Data data(c);
  const HalfMatrix k = HalfMatrix::rounded(data.k), v = HalfMatrix::rounded(data.v);
  Matrix wide_k(c.m, c.heads * c.d), wide_v(c.m, c.heads * c.dv);
  widen(k, wide_k);
  widen(v, wide_v);
  FlashOptions options{.heads = c.heads, .scale = 0.2F, .window = c.window, .half = true};
  Matrix out(c.n, c.heads * c.dv), again(c.n, c.heads * c.dv), wide(c.n, c.heads * c.dv);
  std::vector<float> lse(c.heads * c.n), wide_lse(c.heads * c.n);
  flash_attention_forward(data.q, k, v, options, out, lse, one);
  flash_attention_forward(data.q, k, v, options, again, lse, four);
  flash_attention_forward(data.q, wide_k, wide_v, options, wide, wide_lse, one);
  EXPECT_TRUE(test::same_bytes(out, again));
  EXPECT_TRUE(test::same_bytes(out, wide));
  EXPECT_EQ(lse, wide_lse);
  const auto allowed = [&](std::size_t i, std::size_t j) {
    return (i > j ? i - j : j - i) <= c.window;
  };
  for (std::size_t h = 0; h < c.heads; ++h) {
    const auto expected = reference::attention(
        data.q.view().sub_cols(h * c.d, c.d), data.k.view().sub_cols(h * c.d, c.d),
        data.v.view().sub_cols(h * c.dv, c.dv), 0.2, allowed);
    // Values, queries and keys move by at most 2^-8 of themselves, weights by what scores move.
    for (std::size_t i = 0; i < c.n; ++i) {
      for (std::size_t j = 0; j < c.dv; ++j) {
        EXPECT_NEAR(out.row(i)[h * c.dv + j], expected.out[i * c.dv + j], 0.02);
      }
      if (c.m != 0) {
        EXPECT_NEAR(lse[h * c.n + i], expected.lse[i], 0.02);
      }
    }
  }
  // What half promises to leave alone.
  options.half = false;
  flash_attention_forward(data.q, wide_k, wide_v, options, wide, {}, one);
  EXPECT_EQ(test::same_bytes(out, wide), !bf16::in_hardware() || c.n == 0 || c.m == 0);
  // A negative scale is that of negative queries.
  Matrix turned = Matrix::copy_of(data.q);
  for (std::size_t i = 0; i < turned.rows() * turned.cols(); ++i) turned.data()[i] *= -1.0F;
  options.half = true;
  options.scale = -0.2F;
  flash_attention_forward(turned, k, v, options, wide, {}, one);
  EXPECT_TRUE(test::same_bytes(out, wide));
}

TEST(FlashBf16, IsWithinItsBoundsAtAwkwardSizesOnEveryIsa) {
  test::on_every_half_isa([&](const char* isa) {
    for (const Case& c : {Case{0, 3, 4, 5, 1},
                          {3, 0, 4, 5, 2},
                          {97, 300, 33, 7, 2},
                          {5, 1, 16, 16, 2},
                          {49, 129, 64, 64, 1},
                          {30, 40, 70, 100, 1},
                          {900, 60, 8, 8, 8},
                          {211, 211, 13, 18, 1, 0},
                          {250, 250, 64, 70, 1, 17}}) {
      expect_half_right(c, isa);
    }
  });
}

TEST(FlashBf16, LargeScoresNeitherOverflowNorLoseTheLargest) {
  test::on_every_half_isa([](const char* isa) {
    const Executor one(1);
    Matrix q = test::random_matrix(50, 8, 1), k = test::random_matrix(200, 8, 2);
    for (std::size_t i = 0; i < 50; ++i) {
      for (float& x : q.span().row_span(i)) x *= 1e6F;
    }
    const Matrix v = test::random_matrix(200, 8, 3);
    Matrix out(50, 8);
    flash_attention_forward(q, k, v, {.half = true}, out, {}, one);
    for (std::size_t i = 0; i < 50; ++i) {
      // Every row is some row of v, rounded at most.
      double nearest = 1e9;
      for (std::size_t j = 0; j < 200; ++j) {
        double distance = 0;
        for (std::size_t c = 0; c < 8; ++c) {
          distance = std::max(distance, std::fabs(double{out.row(i)[c]} - double{v.row(j)[c]}));
        }
        nearest = std::min(nearest, distance);
      }
      EXPECT_LT(nearest, 0.02) << isa;
    }
    q.row(3)[2] = std::numeric_limits<float>::quiet_NaN();
    flash_attention_forward(q, k, v, {.half = true}, out, {}, one);
    EXPECT_TRUE(std::isnan(out.row(3)[0])) << isa;
    EXPECT_FALSE(std::isnan(out.row(4)[0])) << isa;
  });
}

}  // namespace
}  // namespace halo::kernels
