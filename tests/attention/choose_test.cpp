#include "halo/attention/choose.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "attention_test_support.h"
#include "core/kernels/every_isa.h"
#include "halo/core/kernels/long_vectors.h"

namespace halo::attention {
namespace {

using test::expect_error;

constexpr Mechanism kAll[] = {Mechanism::kStandard, Mechanism::kFlash, Mechanism::kSparse};

TEST(Choose, IsTheLowestModelledCostEverywhere) {
  for (const std::size_t n : {0U, 1U, 16U, 64U, 500U, 4096U, 100000U}) {
    for (const double density : {0.0, 0.001, 0.1, 0.5, 0.9, 1.0}) {
      for (const std::size_t d : {1U, 16U, 64U, 256U}) {
        for (const std::size_t heads : {1U, 8U}) {
          const AttentionProblem problem{n, density, d, heads};
          const double chosen = modelled_cost(choose(problem), problem);
          EXPECT_TRUE(std::isfinite(chosen));
          for (const Mechanism other : kAll) EXPECT_LE(chosen, modelled_cost(other, problem));
        }
      }
    }
  }
}

// What bench_attention_crossover printed on one core of a Zen 4: nanoseconds a pair.
constexpr double kDensities[] = {0.1, 0.5, 0.75};
struct Measured {
  std::size_t n, d;
  double standard, flash;
  struct Masked {
    double edges, masked;
  } at[3];  // of kDensities
};
constexpr Measured kAvx512[] = {
    {64, 16, 2.16, 1.98, {{0.77, 2.63}, {1.43, 2.87}, {1.98, 3.08}}},
    {256, 16, 1.47, 1.21, {{0.36, 1.68}, {1.23, 2.03}, {1.87, 2.27}}},
    {1024, 16, 1.37, 1.05, {{0.27, 1.59}, {1.28, 1.95}, {1.88, 2.17}}},
    {64, 32, 2.51, 2.40, {{0.84, 2.95}, {1.63, 3.24}, {2.37, 3.44}}},
    {256, 32, 1.75, 1.51, {{0.41, 1.96}, {1.71, 2.32}, {2.60, 2.54}}},
    {1024, 32, 1.67, 1.33, {{0.37, 1.86}, {1.86, 2.24}, {2.70, 2.48}}},
    {64, 64, 4.01, 4.35, {{1.02, 4.46}, {2.24, 4.72}, {3.31, 4.91}}},
    {256, 64, 2.95, 2.83, {{0.59, 3.17}, {2.90, 3.52}, {4.31, 3.76}}},
    {1024, 64, 3.06, 2.67, {{0.64, 3.06}, {3.05, 3.53}, {4.81, 3.77}}},
    {64, 128, 6.95, 8.43, {{1.58, 7.43}, {4.63, 7.68}, {7.82, 7.89}}},
    {256, 128, 5.36, 5.50, {{1.08, 5.62}, {5.18, 5.94}, {7.65, 6.21}}},
    {1024, 128, 5.30, 4.99, {{1.25, 5.49}, {6.16, 6.12}, {9.47, 6.37}}},
};
// The same with AVX-512 forbidden.
constexpr Measured kAvx2[] = {
    {256, 16, 1.26, 0.91, {{0.65, 1.88}, {3.35, 1.81}, {3.33, 2.02}}},
    {512, 16, 1.19, 0.90, {{0.90, 1.51}, {2.37, 1.84}, {3.47, 2.07}}},
    {1024, 16, 1.21, 0.87, {{0.49, 1.41}, {2.36, 1.84}, {3.43, 2.07}}},
    {256, 32, 1.94, 1.52, {{0.65, 2.09}, {2.63, 2.44}, {3.89, 2.67}}},
    {512, 32, 1.78, 1.49, {{0.70, 1.96}, {2.69, 2.41}, {3.94, 2.64}}},
    {1024, 32, 1.78, 1.43, {{0.54, 1.99}, {2.66, 2.43}, {4.82, 3.09}}},
    {256, 64, 3.03, 2.70, {{0.89, 3.25}, {4.03, 3.61}, {5.86, 3.81}}},
    {512, 64, 2.90, 2.63, {{0.84, 3.10}, {4.09, 3.53}, {5.87, 3.84}}},
    {1024, 64, 2.93, 2.55, {{0.85, 3.15}, {3.99, 3.62}, {5.92, 3.93}}},
    {256, 128, 5.43, 5.26, {{1.62, 5.68}, {7.16, 6.02}, {10.68, 6.25}}},
    {512, 128, 5.31, 5.12, {{1.53, 5.51}, {7.17, 6.00}, {11.14, 6.15}}},
    {1024, 128, 5.41, 4.95, {{1.72, 5.64}, {8.13, 5.85}, {12.31, 6.21}}},
};

void expect_losses_below(double most, std::span<const Measured> table) {
  for (const Measured& m : table) {
    const bool tiles = choose({m.n, 1.0, m.d, 1}) == Mechanism::kFlash;
    EXPECT_LE(tiles ? m.flash : m.standard, most * std::min(m.standard, m.flash))
        << m.n << " " << m.d;
    for (std::size_t i = 0; i < 3; ++i) {
      const bool edges = choose({m.n, kDensities[i], m.d, 1}) == Mechanism::kSparse;
      EXPECT_LE(edges ? m.at[i].edges : m.at[i].masked,
                most * std::min(m.at[i].edges, m.at[i].masked))
          << m.n << " " << m.d << " " << kDensities[i];
    }
  }
}

TEST(Choose, LosesAlmostNothingAgainstTheMeasuredBest) {
  halo::test::on_every_isa([](const char* isa) {
    SCOPED_TRACE(isa);
    expect_losses_below(1.05, kernels::long_vectors() ? std::span<const Measured>(kAvx512) : kAvx2);
  });
}

TEST(Choose, TakesTheTilesForLongSequences) {
  for (const std::size_t d : {16U, 32U, 64U, 128U}) {
    for (std::size_t n = 256; n < 100000; n = n * 3 / 2 + 1) {
      EXPECT_EQ(choose({n, 1.0, d, 1}), Mechanism::kFlash);
      EXPECT_EQ(choose({n, 1.0, d, 8}), Mechanism::kFlash);
    }
  }
}

TEST(Choose, TurnsFromSparseToMaskedAsTheMaskFillsUp) {
  const AttentionProblem sparse{2048, 32.0 / 2048.0, 64, 8};
  EXPECT_EQ(choose(sparse), Mechanism::kSparse);
  double low = 0.0, high = 0.9999;
  ASSERT_EQ(choose({2048, high, 128, 8}), Mechanism::kStandard);
  for (int step = 0; step < 40; ++step) {
    const double middle = (low + high) / 2;
    (choose({2048, middle, 128, 8}) == Mechanism::kSparse ? low : high) = middle;
  }
  const AttentionProblem at{2048, low, 128, 8};
  EXPECT_NEAR(modelled_cost(Mechanism::kSparse, at) / modelled_cost(Mechanism::kStandard, at), 1.0,
              1e-6);
  EXPECT_GT(low, 0.1);
  EXPECT_LT(low, 0.9);
}

TEST(Choose, RefusesWhatIsNoProblem) {
  for (const double density : {-0.1, 1.1, std::nan("")}) {
    expect_error(ErrorCode::kInvalidArgument, "mask_density", [&] { choose({10, density}); });
  }
  expect_error(ErrorCode::kInvalidArgument, "head_dim", [] { choose({10, 1.0, 0}); });
  expect_error(ErrorCode::kInvalidArgument, "heads", [] { choose({10, 1.0, 8, 0}); });
}

}  // namespace
}  // namespace halo::attention
