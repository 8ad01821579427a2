#include "halo/core/random.h"

#include <gtest/gtest.h>

#include <array>

namespace halo {
namespace {

TEST(Random, SameSeedSameNumbersOtherSeedOrStreamOthers) {
  Random a(1), b(1), other_seed(2), other_stream(1, 1);
  const auto first = a();
  EXPECT_EQ(first, b());
  EXPECT_NE(first, other_seed());
  EXPECT_NE(first, other_stream());
}

TEST(Random, BelowIsUniform) {
  std::array<int, 10> counts{};
  Random random(3);
  for (int i = 0; i < 100000; ++i) ++counts[random.below(10)];
  for (const int count : counts) EXPECT_NEAR(count, 10000, 500);
}

TEST(Random, FirstDrawsOfStreamsAreUniform) {
  double sum = 0, squares = 0;
  constexpr int kStreams = 100000;
  for (int i = 0; i < kStreams; ++i) {
    const double u = Random(5, static_cast<std::uint64_t>(i)).uniform();
    ASSERT_GE(u, 0.0);
    ASSERT_LT(u, 1.0);
    sum += u;
    squares += u * u;
  }
  EXPECT_NEAR(sum / kStreams, 1.0 / 2, 0.005);
  EXPECT_NEAR(squares / kStreams, 1.0 / 3, 0.005);
}

TEST(Random, NormalHasUnitMoments) {
  Random random(11);
  double sum = 0, squares = 0;
  constexpr int kDraws = 200000;
  for (int i = 0; i < kDraws; ++i) {
    const double x = random.normal();
    sum += x;
    squares += x * x;
  }
  EXPECT_NEAR(sum / kDraws, 0.0, 0.02);
  EXPECT_NEAR(squares / kDraws, 1.0, 0.02);
}

}  // namespace
}  // namespace halo
