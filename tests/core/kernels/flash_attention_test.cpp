#include "halo/core/kernels/flash_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/attention_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

struct Case {
  std::size_t n, m, d, dv, heads;
  std::size_t window = FlashOptions::kNoWindow;
};

struct Results {
  Matrix out, q, k, v;
  std::vector<float> lse;
};

struct Data {
  explicit Data(const Case& c)
      : q(test::random_matrix(c.n, c.heads * c.d, 1)),
        k(test::random_matrix(c.m, c.heads * c.d, 2)),
        v(test::random_matrix(c.m, c.heads * c.dv, 3)),
        d_out(test::random_matrix(c.n, c.heads * c.dv, 4)) {}
  Matrix q, k, v, d_out;
};

Results run(const Case& c, const Data& data, float scale, const Executor& executor) {
  Results r{Matrix(c.n, c.heads * c.dv), Matrix(c.n, c.heads * c.d), Matrix(c.m, c.heads * c.d),
            Matrix(c.m, c.heads * c.dv), std::vector<float>(c.heads * c.n)};
  const FlashOptions options{.heads = c.heads, .scale = scale, .window = c.window};
  flash_attention_forward(data.q, data.k, data.v, options, r.out, r.lse, executor);
  flash_attention_backward(data.q, data.k, data.v, options, r.out, r.lse, data.d_out,
                           {r.q, r.k, r.v}, executor);
  return r;
}

// |got - expected| <= bound * the largest expected value (or 1): rounding grows with the sums.
void expect_near(const MatrixView& got, const std::vector<double>& expected, double bound,
                 const char* what, const char* isa) {
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::fabs(x));
  for (std::size_t i = 0; i < got.rows; ++i) {
    for (std::size_t j = 0; j < got.cols; ++j) {
      ASSERT_NEAR(got.row(i)[j], expected[i * got.cols + j], bound * largest)
          << isa << " " << what << " (" << i << ", " << j << ")";
    }
  }
}

void expect_right(const Case& c, const char* isa) {
  SCOPED_TRACE(testing::Message() << "n=" << c.n << " m=" << c.m << " d=" << c.d << " dv=" << c.dv
                                  << " heads=" << c.heads << " window=" << c.window);
  const Executor one(1), four(4);
  const Data data(c);
  const float scale = 1.0F / std::sqrt(static_cast<float>(std::max<std::size_t>(c.d, 1)));
  const Results r = run(c, data, scale, one), again = run(c, data, scale, four);
  for (const auto& [x, y] : {std::pair(&r.out, &again.out), std::pair(&r.q, &again.q),
                             std::pair(&r.k, &again.k), std::pair(&r.v, &again.v)}) {
    ASSERT_TRUE(test::same_bytes(*x, *y)) << isa;
  }
  ASSERT_EQ(r.lse, again.lse) << isa;
  const auto allowed = [&](std::size_t i, std::size_t j) {
    return (i > j ? i - j : j - i) <= c.window;
  };
  for (std::size_t h = 0; h < c.heads; ++h) {
    const MatrixView q = data.q.view().sub_cols(h * c.d, c.d);
    const MatrixView k = data.k.view().sub_cols(h * c.d, c.d);
    const MatrixView v = data.v.view().sub_cols(h * c.dv, c.dv);
    const reference::Attention expected = reference::attention(q, k, v, scale, allowed);
    const reference::AttentionGradients slopes = reference::attention_backward(
        q, k, v, scale, allowed, data.d_out.view().sub_cols(h * c.dv, c.dv));
    expect_near(r.out.view().sub_cols(h * c.dv, c.dv), expected.out, 2e-6, "out", isa);
    expect_near(r.q.view().sub_cols(h * c.d, c.d), slopes.q, 1e-5, "dq", isa);
    expect_near(r.k.view().sub_cols(h * c.d, c.d), slopes.k, 1e-5, "dk", isa);
    expect_near(r.v.view().sub_cols(h * c.dv, c.dv), slopes.v, 1e-5, "dv", isa);
    for (std::size_t i = 0; i < c.n; ++i) {
      if (c.m == 0) {
        EXPECT_EQ(r.lse[h * c.n + i], -std::numeric_limits<float>::infinity()) << isa;
      } else {
        EXPECT_NEAR(r.lse[h * c.n + i], expected.lse[i], 1e-5) << isa;
      }
    }
  }
}

TEST(FlashAttention, AgreesWithDoubleAtAwkwardSizesOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const Case& c : {Case{0, 0, 4, 4, 1},
                          {1, 1, 1, 1, 1},
                          {3, 0, 4, 5, 2},
                          {0, 3, 4, 5, 1},
                          {1, 7, 3, 2, 1},
                          {5, 1, 16, 16, 2},
                          {97, 129, 33, 7, 1},
                          {100, 65, 20, 70, 2},
                          {23, 300, 64, 64, 1}}) {
      expect_right(c, isa);
    }
  });
}

TEST(FlashAttention, WindowsAgreeWithDoubleAtAwkwardSizesOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t n : {1U, 2U, 25U, 96U, 211U}) {
      for (const std::size_t window : {0U, 1U, 7U, 64U, 95U, 210U, 5000U}) {
        if (n != 211 && window > n && window < 5000) continue;
        expect_right({n, n, 13, 18, 1, window}, isa);
      }
    }
    expect_right({400, 400, 8, 8, 2, 30}, isa);
  });
}

TEST(FlashAttention, LargeScoresNeitherOverflowNorLoseTheLargest) {
  test::on_every_isa([](const char* isa) {
    const Executor one(1);
    const std::size_t n = 200, d = 8;
    Matrix q = test::random_matrix(n, d, 1), k = test::random_matrix(n, d, 2);
    const Matrix v = test::random_matrix(n, d, 3);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < d; ++c) q.row(i)[c] *= 1000.0F, k.row(i)[c] *= 10.0F;
    }
    Matrix out(n, d);
    flash_attention_forward(q, k, v, {.scale = 1.0F}, out, {}, one);
    const auto all = [](std::size_t, std::size_t) { return true; };
    const reference::Attention expected = reference::attention(q, k, v, 1.0, all);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < d; ++c) {
        // Scores near 1e5 are rounded by 2^-7 each.
        EXPECT_NEAR(out.row(i)[c], expected.out[i * d + c], 0.2) << isa;
      }
    }
  });
}

TEST(FlashAttention, GradientsPassFiniteDifferences) {
  const Executor one(1);
  const Case c{7, 9, 5, 3, 1};
  Data data(c);
  const Results r = run(c, data, 0.7F, one);
  const auto loss = [&] {
    const auto all = [](std::size_t, std::size_t) { return true; };
    const reference::Attention a = reference::attention(data.q, data.k, data.v, 0.7F, all);
    double sum = 0;
    for (std::size_t i = 0; i < c.n; ++i) {
      for (std::size_t j = 0; j < c.dv; ++j) sum += a.out[i * c.dv + j] * data.d_out.row(i)[j];
    }
    return sum;
  };
  const auto check = [&](Matrix& input, const Matrix& gradient) {
    for (std::size_t i = 0; i < input.rows(); ++i) {
      for (std::size_t j = 0; j < input.cols(); ++j) {
        const float kept = input.row(i)[j];
        const float above = kept + 0x1.0p-10F, below = kept - 0x1.0p-10F;
        input.row(i)[j] = above;
        const double high = loss();
        input.row(i)[j] = below;
        const double low = loss();
        input.row(i)[j] = kept;
        EXPECT_NEAR(gradient.row(i)[j], (high - low) / (double{above} - double{below}), 2e-5);
      }
    }
  };
  check(data.q, r.q);
  check(data.k, r.k);
  check(data.v, r.v);
}

}  // namespace
}  // namespace halo::kernels
