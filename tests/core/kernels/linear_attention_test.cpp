#include "halo/core/kernels/linear_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/linear_attention_reference.h"
#include "halo/core/kernels/vector_ops.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

struct Gradients {
  Matrix q, k, v;
  explicit Gradients(const Matrix& like_q, const Matrix& like_k, const Matrix& like_v)
      : q(like_q.rows(), like_q.cols()),
        k(like_k.rows(), like_k.cols()),
        v(like_v.rows(), like_v.cols()) {}
  LinearGradients spans() { return {q, k, v}; }
};

// |got - expected| <= bound * the largest expected value (or 1).
void expect_near(const Matrix& got, const std::vector<double>& expected, double bound,
                 const char* what) {
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::fabs(x));
  ASSERT_EQ(got.rows() * got.cols(), expected.size());
  for (std::size_t i = 0; i < got.rows(); ++i) {
    for (std::size_t j = 0; j < got.cols(); ++j) {
      ASSERT_NEAR(got.row(i)[j], expected[i * got.cols() + j], bound * largest)
          << what << " (" << i << ", " << j << ")";
    }
  }
}

TEST(LinearAttention, AgreesWithDoubleAtAwkwardSizesOnEveryIsa) {
  const Executor one(1), four(4);
  struct Case {
    std::size_t n, m, d, dv, features;
  };
  test::on_every_isa([&](const char* isa) {
    for (const Case& c : {Case{0, 5, 3, 3, 4},
                          {4, 0, 3, 5, 4},
                          {1, 1, 1, 1, 1},
                          {7, 130, 5, 3, 17},
                          {130, 300, 64, 33, 64}}) {
      const Matrix q = test::random_matrix(c.n, c.d, 1), k = test::random_matrix(c.m, c.d, 2);
      const Matrix v = test::random_matrix(c.m, c.dv, 3);
      const Matrix omega = test::random_matrix(c.features, c.d, 4);
      const PackedMatrix omega_t = pack_transposed(omega);
      const LinearAttentionOptions options{
          .scale = 1.0F / std::sqrt(std::sqrt(static_cast<float>(c.d))), .epsilon = 1e-4F};
      Matrix out(c.n, c.dv), again(c.n, c.dv);
      linear_attention_forward(q, k, v, omega_t, options, out, one);
      linear_attention_forward(q, k, v, omega_t, options, again, four);
      EXPECT_TRUE(test::same_bytes(out, again)) << isa;
      const std::vector<double> expected =
          reference::linear_attention(q, k, v, omega, options.scale, options.epsilon);
      for (std::size_t i = 0; i < c.n; ++i) {
        for (std::size_t j = 0; j < c.dv; ++j) {
          ASSERT_NEAR(out.row(i)[j], expected[i * c.dv + j], 3e-5) << isa << " n=" << c.n;
        }
      }
    }
  });
}

TEST(LinearAttention, ManyKeysAreSummedInFixedParts) {
  const Executor one(1), four(4);
  const std::size_t m = 4500;  // more blocks than parts
  const Matrix q = test::random_matrix(3, 4, 1), v = test::random_matrix(m, 2, 3);
  Matrix k = test::random_matrix(m, 4, 2);
  for (std::size_t j = 0; j < m; ++j) {  // the common maximum rises from part to part
    for (std::size_t c = 0; c < 4; ++c) k.row(j)[c] *= static_cast<float>(j) / 1000.0F;
  }
  const Matrix omega = test::random_matrix(6, 4, 4);
  const PackedMatrix omega_t = pack_transposed(omega);
  Matrix out(3, 2), again(3, 2);
  linear_attention_forward(q, k, v, omega_t, {.scale = 0.7F}, out, one);
  linear_attention_forward(q, k, v, omega_t, {.scale = 0.7F}, again, four);
  EXPECT_TRUE(test::same_bytes(out, again));
  const std::vector<double> expected = reference::linear_attention(q, k, v, omega, 0.7F, 1e-6F);
  for (std::size_t i = 0; i < 6; ++i) EXPECT_NEAR(out.row(i / 2)[i % 2], expected[i], 1e-4);
}

TEST(LinearAttention, Bf16KeysAndValuesAreTheirRoundedFloatsOnEveryIsa) {
  const Executor one(1), four(4);
  test::on_every_isa([&](const char* isa) {
    for (const std::size_t m : {0U, 1U, 130U, 300U}) {
      const std::size_t n = 50, d = 20, dv = 33;
      const Matrix q = test::random_matrix(n, d, 1), k = test::random_matrix(m, d, 2);
      const Matrix v = test::random_matrix(m, dv, 3), omega = test::random_matrix(64, d, 4);
      const HalfMatrix half_k = HalfMatrix::rounded(k), half_v = HalfMatrix::rounded(v);
      Matrix wide_k(m, d), wide_v(m, dv), out(n, dv), again(n, dv), wide(n, dv), exact(n, dv);
      widen(half_k, wide_k);
      widen(half_v, wide_v);
      const PackedMatrix omega_t = pack_transposed(omega);
      const LinearAttentionOptions options{.scale = 0.4F};
      linear_attention_forward(q, half_k, half_v, omega_t, options, out, one);
      linear_attention_forward(q, half_k, half_v, omega_t, options, again, four);
      linear_attention_forward(q, wide_k, wide_v, omega_t, options, wide, one);
      linear_attention_forward(q, k, v, omega_t, options, exact, one);
      EXPECT_TRUE(test::same_bytes(out, again)) << isa;
      EXPECT_TRUE(test::same_bytes(out, wide)) << isa;
      for (std::size_t i = 0; i < n; ++i) {
        for (std::size_t j = 0; j < dv; ++j) {
          EXPECT_NEAR(out.row(i)[j], exact.row(i)[j], 0.02) << isa;
        }
      }
    }
  });
}

TEST(LinearAttention, GradientsAgreeWithDoubleAtAwkwardSizesOnEveryIsa) {
  const Executor one(1), four(4);
  struct Case {
    std::size_t n, m, d, dv, features;
  };
  test::on_every_isa([&](const char* isa) {
    for (const Case& c : {Case{0, 5, 3, 3, 4},
                          {4, 0, 3, 5, 4},
                          {1, 1, 1, 1, 1},
                          {7, 130, 5, 3, 17},
                          {130, 1, 7, 9, 12},
                          {260, 300, 64, 33, 65}}) {
      SCOPED_TRACE(testing::Message() << isa << " n=" << c.n << " m=" << c.m << " d=" << c.d);
      const Matrix q = test::random_matrix(c.n, c.d, 1), k = test::random_matrix(c.m, c.d, 2);
      const Matrix v = test::random_matrix(c.m, c.dv, 3), d_out = test::random_matrix(c.n, c.dv, 5);
      const Matrix omega = test::random_matrix(c.features, c.d, 4);
      const PackedMatrix packed = pack(omega), omega_t = pack_transposed(omega);
      const LinearAttentionOptions options{
          .scale = 1.0F / std::sqrt(std::sqrt(static_cast<float>(c.d))), .epsilon = 1e-4F};
      Gradients g(q, k, v), again(q, k, v);
      linear_attention_backward(q, k, v, packed, omega_t, options, d_out, g.spans(), one);
      linear_attention_backward(q, k, v, packed, omega_t, options, d_out, again.spans(), four);
      EXPECT_TRUE(test::same_bytes(g.q, again.q));
      EXPECT_TRUE(test::same_bytes(g.k, again.k));
      EXPECT_TRUE(test::same_bytes(g.v, again.v));
      const reference::LinearAttentionGradients expected = reference::linear_attention_backward(
          q, k, v, omega, options.scale, options.epsilon, d_out);
      expect_near(g.q, expected.q, 5e-5, "dq");
      expect_near(g.k, expected.k, 5e-5, "dk");
      expect_near(g.v, expected.v, 5e-5, "dv");
    }
  });
}

TEST(LinearAttention, GradientsPassFiniteDifferences) {
  const Executor one(1);
  Matrix q = test::random_matrix(6, 5, 1), k = test::random_matrix(9, 5, 2);
  Matrix v = test::random_matrix(9, 3, 3);
  const Matrix d_out = test::random_matrix(6, 3, 5), omega = test::random_matrix(20, 5, 4);
  // The shifts cancel without epsilon, so that they may be held constant; with a small one nearly.
  for (const float epsilon : {0.0F, 1e-6F}) {
    const LinearAttentionOptions options{.scale = 0.6F, .epsilon = epsilon};
    Gradients g(q, k, v);
    linear_attention_backward(q, k, v, pack(omega), pack_transposed(omega), options, d_out,
                              g.spans(), one);
    const auto loss = [&] {
      const std::vector<double> out =
          reference::linear_attention(q, k, v, omega, options.scale, epsilon);
      double sum = 0;
      for (std::size_t i = 0; i < out.size(); ++i) sum += out[i] * d_out.row(i / 3)[i % 3];
      return sum;
    };
    const auto check = [&](Matrix& input, const Matrix& gradient, const char* what) {
      for (std::size_t i = 0; i < input.rows(); ++i) {
        for (std::size_t j = 0; j < input.cols(); ++j) {
          const float kept = input.row(i)[j];
          const float above = kept + 0x1.0p-10F, below = kept - 0x1.0p-10F;
          input.row(i)[j] = above;
          const double high = loss();
          input.row(i)[j] = below;
          const double low = loss();
          input.row(i)[j] = kept;
          EXPECT_NEAR(gradient.row(i)[j], (high - low) / (double{above} - double{below}), 2e-5)
              << what << " " << epsilon;
        }
      }
    };
    check(q, g.q, "dq");
    check(k, g.k, "dk");
    check(v, g.v, "dv");
  }
}

TEST(LinearAttention, LargeRowsKeepFiniteGradients) {
  const Executor one(1);
  Matrix q = test::random_matrix(40, 8, 1), k = test::random_matrix(50, 8, 2);
  for (std::size_t i = 0; i < 40; ++i) q.row(i)[i % 8] *= 60.0F;
  for (std::size_t j = 0; j < 50; ++j) k.row(j)[j % 8] *= 60.0F;
  const Matrix v = test::random_matrix(50, 4, 3), d_out = test::random_matrix(40, 4, 5);
  const Matrix omega = test::random_matrix(32, 8, 4);
  Gradients g(q, k, v);
  linear_attention_backward(q, k, v, pack(omega), pack_transposed(omega), {}, d_out, g.spans(),
                            one);
  for (const Matrix* m : {&g.q, &g.k, &g.v}) {
    EXPECT_TRUE(all_finite(m->data(), m->rows() * m->stride()));
  }
}

}  // namespace
}  // namespace halo::kernels
