#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/train/train_metric.h"

namespace halo::gnn {
namespace {

// Every example's row minus the mean of its group; groups of one row say nothing.
Matrix within_group_rows(const MatrixView& view, std::span<const Example> examples) {
  std::uint32_t groups = 0;
  for (const Example& example : examples) groups = std::max(groups, example.group + 1);
  Matrix means(groups, view.cols);
  std::vector<std::size_t> counts(groups, 0);
  for (const Example& example : examples) {
    kernels::axpy(1.0F, view.row(example.row), means.row(example.group), view.cols);
    ++counts[example.group];
  }
  std::vector<Example> kept;
  for (const Example& example : examples) {
    if (counts[example.group] > 1) kept.push_back(example);
  }
  if (kept.empty()) {
    throw Error(ErrorCode::kEmpty, "whitening: no label or query has two examples to learn from");
  }
  Matrix rows(kept.size(), view.cols);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    std::copy_n(view.row(kept[i].row), view.cols, rows.row(i));
    kernels::axpy(-1.0F / static_cast<float>(counts[kept[i].group]), means.row(kept[i].group),
                  rows.row(i), view.cols);
  }
  return rows;
}

}  // namespace

Matrix within_group_whitening(const MatrixView& view, std::span<const Example> examples,
                              const WhiteningOptions& options, const Executor& executor) {
  if (!(options.shrinkage > 0 && options.shrinkage <= 1) || !std::isfinite(options.exponent)) {
    throw Error(ErrorCode::kInvalidArgument, "whitening: shrinkage must be above 0, up to 1");
  }
  const Matrix rows = within_group_rows(view, examples);
  Matrix covariance(view.cols, view.cols);
  kernels::gemm_tn(rows, rows, covariance, executor);
  const auto r = static_cast<Eigen::Index>(view.cols);
  Eigen::MatrixXd matrix(r, r);
  for (Eigen::Index i = 0; i < r; ++i) {
    for (Eigen::Index j = 0; j < r; ++j) {
      matrix(i, j) = (static_cast<double>(covariance.row(static_cast<std::size_t>(i))[j]) +
                      static_cast<double>(covariance.row(static_cast<std::size_t>(j))[i])) /
                     (2.0 * static_cast<double>(rows.rows()));
    }
  }
  const double mean_variance = std::max(matrix.trace() / static_cast<double>(r), 1e-12);
  matrix *= (1.0 - options.shrinkage) / mean_variance;
  matrix.diagonal().array() += options.shrinkage;
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(matrix);
  if (solver.info() != Eigen::Success) {
    throw Error(ErrorCode::kNonFinite, "whitening: the eigenvalues do not converge");
  }
  const Eigen::VectorXd powers =
      solver.eigenvalues().array().max(1e-12).pow(-options.exponent).matrix();
  const Eigen::MatrixXd whitening =
      solver.eigenvectors() * powers.asDiagonal() * solver.eigenvectors().transpose();
  Matrix weights(view.cols, view.cols);
  for (Eigen::Index i = 0; i < r; ++i) {
    for (Eigen::Index j = 0; j < r; ++j) {
      weights.row(static_cast<std::size_t>(i))[j] = static_cast<float>(whitening(i, j));
    }
  }
  return weights;
}

}  // namespace halo::gnn
