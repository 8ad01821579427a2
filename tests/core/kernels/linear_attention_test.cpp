#include "halo/core/kernels/linear_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/linear_attention_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

TEST(LinearAttention, FeaturesAgreeWithDoubleOnEveryIsa) {
  const Executor one(1), four(4);
  test::on_every_isa([&](const char* isa) {
    for (const std::size_t d : {1U, 5U, 64U}) {
      for (const std::size_t features : {1U, 7U, 33U, 130U}) {
        const Matrix x = test::random_matrix(150, d, d),
                     omega = test::random_matrix(features, d, 9);
        const PackedMatrix omega_t = pack_transposed(omega);
        Matrix phi(150, features), again(150, features);
        std::vector<float> shift(150), shift_again(150);
        favor_features(x, omega_t, 0.5F, phi, shift, one);
        favor_features(x, omega_t, 0.5F, again, shift_again, four);
        EXPECT_TRUE(test::same_bytes(phi, again)) << isa;
        EXPECT_EQ(shift, shift_again) << isa;
        const std::vector<double> exponents = reference::favor_exponents(x, omega, 0.5);
        for (std::size_t i = 0; i < 150; ++i) {
          for (std::size_t r = 0; r < features; ++r) {
            const double expected = std::exp(exponents[i * features + r] - shift[i]) /
                                    std::sqrt(static_cast<double>(features));
            ASSERT_NEAR(phi.row(i)[r], expected, 2e-5 * expected) << isa;
          }
        }
      }
    }
  });
}

TEST(LinearAttention, FeatureProductsEstimateTheSoftmaxKernelBetterWithMoreFeatures) {
  const Executor one(1);
  const std::size_t d = 8, n = 20;
  const Matrix x = test::random_matrix(n, d, 1), y = test::random_matrix(n, d, 2);
  const auto mean_error = [&](std::size_t features) {
    const PackedMatrix omega_t = pack_transposed(test::random_matrix(features, d, 3));
    Matrix phi_x(n, features), phi_y(n, features);
    std::vector<float> shift_x(n), shift_y(n);
    favor_features(x, omega_t, 0.4F, phi_x, shift_x, one);
    favor_features(y, omega_t, 0.4F, phi_y, shift_y, one);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        double estimate = 0, exact = 0;
        for (std::size_t r = 0; r < features; ++r) {
          estimate += double{phi_x.row(i)[r]} * phi_y.row(j)[r];
        }
        for (std::size_t c = 0; c < d; ++c) exact += 0.16 * x.row(i)[c] * y.row(j)[c];
        estimate *= std::exp(double{shift_x[i]} + shift_y[j]);
        sum += std::fabs(estimate / std::exp(exact) - 1);
      }
    }
    return sum / static_cast<double>(n * n);
  };
  const double rough = mean_error(64), fine = mean_error(4096);
  EXPECT_LT(fine, 0.06);
  EXPECT_LT(fine, rough / 3);
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

}  // namespace
}  // namespace halo::kernels
