#include "halo/attention/random_features.h"

#include <gtest/gtest.h>

#include <cmath>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

using test::expect_error;

double dot(const RandomFeatures& features, std::size_t a, std::size_t b) {
  double sum = 0.0;
  for (std::size_t c = 0; c < features.dim(); ++c) {
    sum += static_cast<double>(features.directions().row(a)[c]) *
           static_cast<double>(features.directions().row(b)[c]);
  }
  return sum;
}

// The notes draw omega uniform in [-1, 1], whose variance is a third of what FAVOR+ needs.
TEST(RandomFeatures, AreStandardNormalNotUniform) {
  const RandomFeatures features(2000, 16, 1);
  double squares = 0.0, fourth = 0.0, sum = 0.0;
  for (std::size_t r = 0; r < features.count(); ++r) {
    for (const float value : features.directions().row_span(r)) {
      const double v = static_cast<double>(value);
      sum += v;
      squares += v * v;
      fourth += v * v * v * v;
    }
  }
  const double n = 2000.0 * 16.0;
  EXPECT_NEAR(sum / n, 0.0, 0.02);
  EXPECT_NEAR(squares / n, 1.0, 0.02);
  EXPECT_NEAR(fourth / n, 3.0, 0.15);
}

TEST(RandomFeatures, AreOrthogonalWithinBlocksAndNotBeyond) {
  for (const std::size_t dim : {1U, 7U, 64U}) {
    const RandomFeatures features(2 * dim + 1, dim, 2);
    for (std::size_t a = 0; a < features.count(); ++a) {
      for (std::size_t b = a + 1; b < features.count() && b / dim == a / dim; ++b) {
        EXPECT_NEAR(dot(features, a, b), 0.0, 1e-4);
      }
    }
    EXPECT_GT(std::fabs(dot(features, 0, dim)), 1e-3);
  }
}

TEST(RandomFeatures, DependOnSeedAndStreamAndOnNothingElse) {
  const RandomFeatures a(5, 4, 1, 2), same(5, 4, 1, 2), seed(5, 4, 2, 2), stream(5, 4, 1, 3);
  test::expect_same_bytes(a.directions(), same.directions());
  EXPECT_NE(a.directions().row(0)[0], seed.directions().row(0)[0]);
  EXPECT_NE(a.directions().row(0)[0], stream.directions().row(0)[0]);
}

TEST(RandomFeatures, RefusesNone) {
  expect_error(ErrorCode::kInvalidArgument, "random features", [] { RandomFeatures(0, 4, 1); });
  expect_error(ErrorCode::kInvalidArgument, "random features", [] { RandomFeatures(4, 0, 1); });
}

}  // namespace
}  // namespace halo::attention
