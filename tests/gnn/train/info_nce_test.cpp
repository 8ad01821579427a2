#include "halo/gnn/train/info_nce.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

// The formula of the header, in double.
double reference_loss(const MatrixView& z, const std::vector<std::uint32_t>& groups, double scale) {
  double loss = 0, anchors = 0;
  for (std::size_t i = 0; i < z.rows; ++i) {
    std::vector<double> logits(z.rows, 0.0);
    double sum = 0, positives = 0, of_positives = 0;
    for (std::size_t j = 0; j < z.rows; ++j) {
      for (std::size_t d = 0; d < z.cols; ++d) {
        logits[j] += scale * static_cast<double>(z.row(i)[d]) * z.row(j)[d];
      }
      if (j != i) sum += std::exp(logits[j]);
    }
    for (std::size_t j = 0; j < z.rows; ++j) {
      if (j == i || groups[j] != groups[i]) continue;
      ++positives;
      of_positives += logits[j] - std::log(sum);
    }
    if (positives == 0) continue;
    ++anchors;
    loss -= of_positives / positives;
  }
  return anchors == 0 ? 0 : loss / anchors;
}

const std::vector<std::uint32_t> kGroups = {0, 1, 0, 2, 1, 0, 3, 1};  // 2 and 3: alone

TEST(SupervisedInfoNce, LossAndGradientsMatchTheFormula) {
  Matrix z = halo::test::random_matrix(8, 5, 1), d_z(8, 5);
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t d = 0; d < 5; ++d) z.row(i)[d] *= 0.4F;
  }
  const float log_scale = 0.7F;
  const auto loss = [&](double shift) {
    return reference_loss(z, kGroups, std::exp(log_scale + shift));
  };
  const InfoNce nce = supervised_info_nce(z, kGroups, log_scale, d_z, Executor(1));
  EXPECT_EQ(nce.anchors, 6U);
  EXPECT_NEAR(nce.loss, loss(0), 1e-5);
  EXPECT_NEAR(nce.d_log_scale, (loss(1e-4) - loss(-1e-4)) / 2e-4, 1e-4);
  for (std::size_t i = 0; i < 8; ++i) {
    for (std::size_t d = 0; d < 5; ++d) {
      const float kept = z.row(i)[d];
      z.row(i)[d] = kept + 1e-3F;
      const double above = loss(0);
      z.row(i)[d] = kept - 1e-3F;
      const double below = loss(0);
      z.row(i)[d] = kept;
      EXPECT_NEAR(d_z.row(i)[d], (above - below) / 2e-3, 3e-4) << i << " " << d;
    }
  }
}

TEST(SupervisedInfoNce, WithoutAnyPositiveThereIsNothingToLearn) {
  const Matrix z = halo::test::random_matrix(3, 4, 2);
  Matrix d_z(3, 4);
  const std::vector<std::uint32_t> alone = {0, 1, 2};
  const InfoNce nce = supervised_info_nce(z, alone, 1.0F, d_z, Executor(1));
  EXPECT_EQ(nce.anchors, 0U);
  EXPECT_EQ(nce.loss, 0.0);
  for (std::size_t i = 0; i < 3; ++i) {
    for (std::size_t d = 0; d < 4; ++d) EXPECT_EQ(d_z.row(i)[d], 0.0F);
  }
}

TEST(SupervisedInfoNce, SameBytesAtAnyThreadCount) {
  const Matrix z = halo::test::random_matrix(150, 40, 3);
  std::vector<std::uint32_t> labels(150);
  for (std::uint32_t i = 0; i < 150; ++i) labels[i] = i % 7;
  Matrix one(150, 40), two(150, 40);
  const InfoNce a = supervised_info_nce(z, labels, 0.1F, one, Executor(1));
  const InfoNce b = supervised_info_nce(z, labels, 0.1F, two, Executor(2));
  EXPECT_EQ(a.loss, b.loss);
  EXPECT_EQ(std::memcmp(one.data(), two.data(), 150 * 40 * sizeof(float)), 0);
}

TEST(SupervisedInfoNce, RefusesOtherShapes) {
  Matrix z(4, 3), d_z(4, 3);
  const std::vector<std::uint32_t> three = {0, 0, 1};
  halo::test::expect_error(ErrorCode::kDimensionMismatch, "differ",
                           [&] { supervised_info_nce(z, three, 1.0F, d_z, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
