#include "halo/core/kernels/favor_features.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/linear_attention_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

TEST(FavorFeatures, FeaturesAgreeWithDoubleOnEveryIsa) {
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

TEST(FavorFeatures, FeatureProductsEstimateTheSoftmaxKernelBetterWithMoreFeatures) {
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

TEST(FavorFeatures, PartsOfLongSumsAreWholeBlocksAndFew) {
  EXPECT_EQ(rows_a_part(0), kFeatureBlock);
  for (const std::size_t rows : {1U, 128U, 129U, 4096U, 4097U, 100000U}) {
    const std::size_t part = rows_a_part(rows);
    EXPECT_EQ(part % kFeatureBlock, 0U) << rows;
    EXPECT_LE((rows + part - 1) / part, 32U) << rows;
  }
}

}  // namespace
}  // namespace halo::kernels
