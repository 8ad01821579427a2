#include "halo/gnn/layer_norm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

TEST(LayerNorm, IsTheFormulaAtAwkwardDimensions) {
  const Executor executor(2);
  for (const std::size_t d : {1U, 2U, 7U, 64U, 100U}) {
    const Matrix x = test::random_matrix(300, d, d), gain = test::random_matrix(1, d, 1),
                 bias = test::random_matrix(1, d, 2);
    Matrix y = Matrix::copy_of(x);
    layer_norm(y, gain.row_span(0), bias.row_span(0), 1e-3F, executor);
    for (std::size_t i = 0; i < 300; ++i) {
      double mean = 0.0, variance = 0.0;
      for (std::size_t c = 0; c < d; ++c) mean += x.row(i)[c] / static_cast<double>(d);
      for (std::size_t c = 0; c < d; ++c) {
        variance += std::pow(x.row(i)[c] - mean, 2) / static_cast<double>(d);
      }
      for (std::size_t c = 0; c < d; ++c) {
        const double unit = (x.row(i)[c] - mean) / std::sqrt(variance + 1e-3);
        ASSERT_NEAR(y.row(i)[c], unit * gain.row(0)[c] + bias.row(0)[c], 1e-5);
      }
    }
  }
}

TEST(LayerNorm, AConstantRowIsTheBias) {
  const Executor executor(1);
  Matrix x(1, 3);
  for (std::size_t c = 0; c < 3; ++c) x.row(0)[c] = 1e6F;
  const std::vector<float> gain{1, 2, 3}, bias{4, 5, 6};
  layer_norm(x, gain, bias, 1e-5F, executor);
  EXPECT_EQ(x.row(0)[0], 4.0F);
  EXPECT_EQ(x.row(0)[2], 6.0F);
}

TEST(L2Normalise, GivesUnitRowsAndLeavesZeroRows) {
  const Executor one(1), four(4);
  Matrix x = test::random_matrix(600, 13, 1);
  for (std::size_t c = 0; c < 13; ++c) x.row(7)[c] = 0.0F;
  Matrix y = Matrix::copy_of(x), z = Matrix::copy_of(x);
  l2_normalise(y, one);
  l2_normalise(z, four);
  EXPECT_EQ(std::memcmp(y.data(), z.data(), 600 * 13 * sizeof(float)), 0);
  for (std::size_t i = 0; i < 600; ++i) {
    double squares = 0.0;
    for (std::size_t c = 0; c < 13; ++c) squares += std::pow(static_cast<double>(y.row(i)[c]), 2);
    EXPECT_NEAR(squares, i == 7 ? 0.0 : 1.0, 1e-5);
  }
}

}  // namespace
}  // namespace halo::gnn
