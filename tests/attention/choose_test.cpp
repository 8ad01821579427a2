#include "halo/attention/choose.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention_test_support.h"

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

// Just under and just over the n at which two costs are equal.
TEST(Choose, TurnsFromStandardToFlashAtTheCrossover) {
  for (const std::size_t d : {32U, 64U, 128U}) {
    std::size_t first = 1;
    while (choose({first, 1.0, d, 1}) != Mechanism::kFlash) ++first;
    EXPECT_GT(first, 8U);
    EXPECT_LT(first, 200U);
    const AttentionProblem below{first - 1, 1.0, d, 1}, above{first, 1.0, d, 1};
    EXPECT_LE(modelled_cost(Mechanism::kStandard, below), modelled_cost(Mechanism::kFlash, below));
    EXPECT_GT(modelled_cost(Mechanism::kStandard, above), modelled_cost(Mechanism::kFlash, above));
    for (std::size_t n = first; n < 100000; n = n * 3 / 2 + 1) {
      EXPECT_EQ(choose({n, 1.0, d, 1}), Mechanism::kFlash);
    }
    // More heads share what a call costs.
    EXPECT_EQ(choose({first, 1.0, d, 8}), Mechanism::kFlash);
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
