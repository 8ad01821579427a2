#include "halo/core/kernels/vector_ops.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/random.h"

namespace halo::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> draw(std::size_t d, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(d);
  for (float& v : x) v = static_cast<float>(random.normal());
  return x;
}

TEST(VectorOps, AxpyAndScaleAtEveryLength) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 0; d < 70; ++d) {
      const std::vector<float> x = draw(d, d), y = draw(d, 100 + d);
      std::vector<float> sum = y, scaled = x;
      axpy(0.5F, x.data(), sum.data(), d);
      scale(-3.0F, scaled.data(), d);
      for (std::size_t i = 0; i < d; ++i) {
        EXPECT_NEAR(sum[i], y[i] + 0.5F * x[i], 1e-6) << isa;
        EXPECT_EQ(scaled[i], -3.0F * x[i]) << isa;
      }
    }
  });
}

TEST(VectorOps, Bf16RowsEqualTheirRoundedFloatsAtEveryLength) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 0; d < 70; ++d) {
      const std::vector<float> x = draw(d, d), y = draw(d, 100 + d);
      const HalfMatrix half = HalfMatrix::rounded(MatrixView(x.data(), 1, d));
      std::vector<float> sum = y;
      axpy(0.5F, half.row(0), sum.data(), d);
      double expected = 0;
      std::vector<Bf16> narrowed(d);
      narrow(x.data(), d, narrowed.data());
      for (std::size_t i = 0; i < d; ++i) {
        EXPECT_EQ(narrowed[i], half.row(0)[i]) << isa;
        const float rounded = bf16_to_float(half.row(0)[i]);
        EXPECT_NEAR(rounded, x[i], std::fabs(x[i]) / 256) << isa;
        EXPECT_NEAR(sum[i], y[i] + 0.5F * rounded, 1e-6) << isa;
        expected += double{y[i]} * rounded;
      }
      EXPECT_NEAR(dot(y.data(), half.row(0), d), expected, 1e-5 * (1 + std::sqrt(double(d))))
          << isa;
    }
  });
}

TEST(VectorOps, Bf16RoundsToNearestEven) {
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.0F)), 1.0F);
  EXPECT_EQ(float_to_bf16(1.0F + 0x1.0p-8F), float_to_bf16(1.0F));              // tie to even: down
  EXPECT_EQ(bf16_to_float(float_to_bf16(1.0F + 0x3.0p-8F)), 1.0F + 0x2.0p-7F);  // tie to even: up
  EXPECT_EQ(bf16_to_float(float_to_bf16(-2.5F)), -2.5F);
}

TEST(VectorOps, AllFiniteFindsEveryNanAndInfinity) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 0; d < 70; ++d) {
      std::vector<float> x = draw(d, d);
      EXPECT_TRUE(all_finite(x.data(), d)) << isa;
      for (std::size_t i = 0; i < d; ++i) {
        const float kept = x[i];
        for (const float bad : {kInf, -kInf, std::nanf("")}) {
          x[i] = bad;
          EXPECT_FALSE(all_finite(x.data(), d)) << isa << " d=" << d << " i=" << i;
        }
        x[i] = kept;
      }
    }
    const std::vector<float> huge(40, std::numeric_limits<float>::max());
    EXPECT_TRUE(all_finite(huge.data(), huge.size())) << isa;
  });
}

TEST(VectorOps, NormaliseSurvivesHugeTinyAndZeroVectors) {
  for (const float magnitude : {1.0F, 3e38F, 1e-37F, 1e20F, 1e-20F}) {
    std::vector<float> x(37, magnitude);
    const float norm = normalise(x.data(), x.size());
    EXPECT_GT(norm, 0.0F) << magnitude;
    EXPECT_TRUE(std::isfinite(norm)) << magnitude;
    for (const float v : x) EXPECT_NEAR(v, 1.0 / std::sqrt(37.0), 1e-5) << magnitude;
  }
  std::vector<float> zero(5, 0.0F);
  EXPECT_EQ(normalise(zero.data(), zero.size()), 0.0F);
  EXPECT_EQ(zero, std::vector<float>(5, 0.0F));
  EXPECT_EQ(normalise(zero.data(), 0), 0.0F);
}

TEST(VectorOps, SoftmaxSumsToOneAndNeverGivesNan) {
  std::vector<float> x{1.0F, 2.0F, 3.0F, -kInf};
  softmax(x.data(), x.size());
  EXPECT_NEAR(x[0] + x[1] + x[2], 1.0F, 1e-6);
  EXPECT_NEAR(x[1] / x[0], std::exp(1.0F), 1e-5);
  EXPECT_EQ(x[3], 0.0F);
  std::vector<float> large{1e30F, 1e30F};
  softmax(large.data(), large.size());
  EXPECT_EQ(large[0], 0.5F);
  std::vector<float> none(3, -kInf);
  softmax(none.data(), none.size());
  EXPECT_EQ(none, std::vector<float>(3, 0.0F));
  softmax(none.data(), 0);
}

}  // namespace
}  // namespace halo::kernels
