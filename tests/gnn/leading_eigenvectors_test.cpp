#include "halo/gnn/leading_eigenvectors.h"

#include <gtest/gtest.h>

#include <Eigen/Dense>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kDim = 400, kRank = 40;

Eigen::MatrixXd as_eigen(const MatrixView& x) {
  Eigen::MatrixXd out(static_cast<Eigen::Index>(x.rows), static_cast<Eigen::Index>(x.cols));
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t j = 0; j < x.cols; ++j) {
      out(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) = x.row(i)[j];
    }
  }
  return out;
}

// A symmetric matrix with these eigenvalues along random directions.
Matrix with_eigenvalues(const Eigen::VectorXd& values) {
  const auto d = static_cast<std::size_t>(values.size());
  const Eigen::MatrixXd random = as_eigen(test::random_matrix(d, d, 11));
  const Eigen::MatrixXd turn = Eigen::HouseholderQR<Eigen::MatrixXd>(random).householderQ();
  const Eigen::MatrixXd full = turn * values.asDiagonal() * turn.transpose();
  Matrix out(d, d);
  for (std::size_t i = 0; i < d; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      out.row(i)[j] =
          static_cast<float>(full(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)));
    }
  }
  return out;
}

struct Case {
  std::string name;
  Eigen::VectorXd values;
  bool separated;  // whether the last wanted eigenvalue lies clear of the next
};

std::vector<Case> cases() {
  std::vector<Case> all;
  const auto add = [&](const std::string& name, bool separated, const auto& value) {
    Eigen::VectorXd values(static_cast<Eigen::Index>(kDim));
    for (std::size_t i = 0; i < kDim; ++i) values(static_cast<Eigen::Index>(i)) = value(i);
    all.push_back({name, values, separated});
  };
  add("power law", true, [](std::size_t i) { return 1.0 / static_cast<double>(i + 1); });
  add("geometric", true, [](std::size_t i) { return std::pow(0.85, static_cast<double>(i)); });
  add("clusters of ten", true, [](std::size_t i) { return std::pow(0.4, double(i / 10)); });
  add("cluster across the cut", false, [](std::size_t i) {
    return i < 30 ? 2.0 : i < 50 ? 0.5 : 0.1;
  });
  add("spikes on a floor", false, [](std::size_t i) { return i < 5 ? 20.0 : 1.0; });
  add("rank below what is wanted", true,
      [](std::size_t i) { return i < 20 ? 20.0 - double(i) : 0; });
  return all;
}

TEST(LeadingEigenpairs, AgreeWithTheFullSolver) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Matrix matrix = with_eigenvalues(c.values);
    const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> full(as_eigen(matrix));
    const auto d = static_cast<Eigen::Index>(kDim), rank = static_cast<Eigen::Index>(kRank);
    const auto pairs =
        leading_eigenpairs(matrix, kRank, Executor(2), {.tolerance = 1e-4, .most_rounds = 40});
    ASSERT_TRUE(pairs.has_value());
    const double largest = full.eigenvalues()(d - 1);
    for (std::size_t i = 0; i < kRank; ++i) {
      const double expected = full.eigenvalues()(d - 1 - static_cast<Eigen::Index>(i));
      EXPECT_NEAR(pairs->values[i], expected, 1e-5 * std::abs(expected) + 1e-7 * largest) << i;
    }
    const Eigen::MatrixXd found = as_eigen(pairs->vectors);
    EXPECT_LT((found * found.transpose() - Eigen::MatrixXd::Identity(rank, rank)).norm(), 1e-4);
    if (!c.separated || c.values(rank - 1) <= 0) continue;
    // The sine of the largest angle between both subspaces.
    const Eigen::MatrixXd outside =
        found.transpose() -
        full.eigenvectors().rightCols(rank) *
            (full.eigenvectors().rightCols(rank).transpose() * found.transpose());
    EXPECT_LT(outside.norm(), 5e-3);
  }
}

TEST(LeadingEigenpairs, AreGoodEnoughAsTheyAreShipped) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name);
    const Matrix matrix = with_eigenvalues(c.values);
    const auto pairs = leading_eigenpairs(matrix, kRank, Executor(1));
    ASSERT_TRUE(pairs.has_value());
    for (std::size_t i = 0; i < kRank; ++i) {
      const double expected = c.values(static_cast<Eigen::Index>(i));
      EXPECT_NEAR(pairs->values[i], expected, 3e-2 * expected + 1e-6 * c.values(0)) << i;
    }
  }
}

TEST(LeadingEigenpairs, AreTheSameBytesAtAnyThreadCount) {
  const Matrix matrix = with_eigenvalues(cases()[0].values);
  const auto one = leading_eigenpairs(matrix, kRank, Executor(1));
  const auto four = leading_eigenpairs(matrix, kRank, Executor(4));
  ASSERT_TRUE(one && four);
  EXPECT_EQ(one->values, four->values);
  for (std::size_t i = 0; i < kRank; ++i) {
    const auto a = one->vectors.view().row_span(i), b = four->vectors.view().row_span(i);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin()));
  }
}

TEST(LeadingEigenpairs, OfAMatrixThatIsHardlyLargerAreSolvedWhole) {
  Eigen::VectorXd values(6);
  values << 5, 4, 3, 2, 1, 0.5;
  const Matrix matrix = with_eigenvalues(values);
  const auto pairs = leading_eigenpairs(matrix, 9, Executor(1));
  ASSERT_TRUE(pairs.has_value());
  ASSERT_EQ(pairs->values.size(), 6U);
  EXPECT_EQ(pairs->vectors.rows(), 6U);
  for (std::size_t i = 0; i < 6; ++i) {
    EXPECT_NEAR(pairs->values[i], values(static_cast<Eigen::Index>(i)), 1e-5);
  }
}

TEST(LeadingEigenpairs, OfNothingAreZerosAndOfNanNone) {
  Matrix matrix(kDim, kDim);
  const auto zeros = leading_eigenpairs(matrix, kRank, Executor(1));
  ASSERT_TRUE(zeros.has_value());
  EXPECT_EQ(zeros->values, std::vector<double>(kRank, 0.0));
  const Eigen::MatrixXd found = as_eigen(zeros->vectors);
  EXPECT_LT((found * found.transpose() - Eigen::MatrixXd::Identity(kRank, kRank)).norm(), 1e-4);
  matrix.row(3)[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(leading_eigenpairs(matrix, kRank, Executor(1)).has_value());
}

}  // namespace
}  // namespace halo::gnn
