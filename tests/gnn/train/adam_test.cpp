#include "halo/gnn/train/adam.h"

#include <gtest/gtest.h>

#include <cmath>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

TEST(Adam, FollowsTheFormula) {
  Matrix x(1, 2);
  x.row(0)[0] = 1.0F;
  x.row(0)[1] = -2.0F;
  AdamOptions options;
  options.weight_decay = 0.1F;
  Adam adam(options);
  double expected[2] = {1.0, -2.0}, mean[2] = {0, 0}, square[2] = {0, 0};
  for (int t = 1; t <= 20; ++t) {
    Matrix gradient(1, 2);
    gradient.row(0)[0] = 0.5F * static_cast<float>(t);
    gradient.row(0)[1] = -3.0F;
    const MatrixSpan parameters[] = {x};
    const MatrixView gradients[] = {gradient};
    adam.step(parameters, gradients, 0.01F);
    for (int d = 0; d < 2; ++d) {
      const double g = (d == 0 ? 0.5 * t : -3.0) + 0.1 * expected[d];
      mean[d] = 0.9 * mean[d] + 0.1 * g;
      square[d] = 0.999 * square[d] + 0.001 * g * g;
      expected[d] -= 0.01 * mean[d] / (1 - std::pow(0.9, t)) /
                     (std::sqrt(square[d] / (1 - std::pow(0.999, t))) + 1e-8);
      EXPECT_NEAR(x.row(0)[d], expected[d], 1e-5) << t;
    }
  }
  EXPECT_EQ(adam.steps(), 20U);
}

TEST(Adam, GoesOnFromACheckpointAsIfNothingHadHappened) {
  const auto gradient_of = [](std::uint64_t t) { return halo::test::random_matrix(3, 4, 100 + t); };
  Matrix whole = halo::test::random_matrix(3, 4, 1), parts = halo::test::random_matrix(3, 4, 1);
  Adam one, first;
  for (std::uint64_t t = 0; t < 10; ++t) {
    const Matrix gradient = gradient_of(t);
    one.step(std::vector<MatrixSpan>{whole}, std::vector<MatrixView>{gradient}, 0.1F);
    if (t == 4) {
      Adam second;
      std::vector<Matrix> moments;
      for (const MatrixView& moment : first.moments()) moments.push_back(Matrix::copy_of(moment));
      second.restore(first.steps(), std::move(moments));
      first = std::move(second);
    }
    first.step(std::vector<MatrixSpan>{parts}, std::vector<MatrixView>{gradient}, 0.1F);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t j = 0; j < 4; ++j) EXPECT_EQ(whole.row(i)[j], parts.row(i)[j]);
  }
}

TEST(Adam, RefusesOtherShapesAndOptions) {
  Matrix x(2, 2), gradient(2, 3);
  Adam adam;
  halo::test::expect_error(ErrorCode::kDimensionMismatch, "other parameters", [&] {
    adam.step(std::vector<MatrixSpan>{x}, std::vector<MatrixView>{gradient}, 0.1F);
  });
  AdamOptions options;
  options.beta1 = 1.0F;
  halo::test::expect_error(ErrorCode::kInvalidArgument, "out of range", [&] { Adam{options}; });
}

TEST(CosineDecay, GoesFromTheBaseToNothing) {
  EXPECT_FLOAT_EQ(cosine_decay(2.0F, 0, 10), 2.0F);
  EXPECT_FLOAT_EQ(cosine_decay(2.0F, 5, 10), 1.0F);
  EXPECT_NEAR(cosine_decay(2.0F, 10, 10), 0.0F, 1e-6);
}

}  // namespace
}  // namespace halo::gnn
