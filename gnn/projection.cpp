#include "halo/gnn/projection.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 1024;
constexpr double kSmallestEigenvalueShare = 1e-6;

// What passed float's range has no direction: zeros, not NaN that every order would stumble over.
void normalise_finite(float* x, std::size_t d) {
  if (kernels::all_finite(x, d)) {
    kernels::normalise(x, d);
  } else {
    std::fill_n(x, d, 0.0F);
  }
}

void subtract_mean(const float* x, const std::vector<float>& mean, float* out) {
  for (std::size_t d = 0; d < mean.size(); ++d) out[d] = x[d] - mean[d];
}

// Evenly spaced rows of x, at most `sample` of them.
std::vector<std::size_t> sample_rows(std::size_t rows, std::size_t sample) {
  std::vector<std::size_t> picked(std::min(rows, sample));
  for (std::size_t i = 0; i < picked.size(); ++i) picked[i] = i * rows / picked.size();
  return picked;
}

}  // namespace

Projection::Projection(std::vector<float> mean, Matrix basis) : mean_(std::move(mean)) {
  if (basis.empty()) return;
  if (basis.cols() != mean_.size()) {
    throw Error(ErrorCode::kDimensionMismatch, "projection: basis and mean differ in dimension");
  }
  basis_ = std::make_shared<const Matrix>(std::move(basis));
}

void Projection::apply(const MatrixView& x, const MatrixSpan& out, const Executor& executor) const {
  if (x.cols != in_dim() || out.rows != x.rows || out.cols != out_dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "projection: input or output of another shape");
  }
  const Executor inline_executor(1);
  executor.parallel_for(x.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    const std::size_t rows = end - begin;
    const MatrixSpan block = out.sub_rows(begin, rows);
    if (!basis_) {
      for (std::size_t i = 0; i < rows; ++i) subtract_mean(x.row(begin + i), mean_, block.row(i));
    } else {
      Matrix centred(rows, in_dim());
      for (std::size_t i = 0; i < rows; ++i) subtract_mean(x.row(begin + i), mean_, centred.row(i));
      kernels::gemm_nt(centred, *basis_, block, inline_executor);
    }
    for (std::size_t i = 0; i < rows; ++i) normalise_finite(block.row(i), block.cols);
  });
}

void Projection::apply(const float* x, float* out, float* scratch) const {
  if (!basis_) {
    subtract_mean(x, mean_, out);
  } else {
    subtract_mean(x, mean_, scratch);
    for (std::size_t r = 0; r < basis_->rows(); ++r) {
      out[r] = kernels::dot(scratch, basis_->row(r), in_dim());
    }
  }
  normalise_finite(out, out_dim());
}

Spectrum symmetric_spectrum(const MatrixView& matrix, std::size_t count, std::vector<float> mean) {
  const auto dim = static_cast<Eigen::Index>(matrix.cols);
  Eigen::MatrixXd symmetric(dim, dim);
  for (Eigen::Index i = 0; i < dim; ++i) {
    for (Eigen::Index j = 0; j < dim; ++j) {
      // Both halves, averaged: the product is symmetric only up to rounding.
      symmetric(i, j) = (static_cast<double>(matrix.row(static_cast<std::size_t>(i))[j]) +
                         static_cast<double>(matrix.row(static_cast<std::size_t>(j))[i])) /
                        (2.0 * static_cast<double>(count));
    }
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(symmetric);
  if (solver.info() != Eigen::Success) {
    throw Error(ErrorCode::kNonFinite, "symmetric_spectrum: the eigenvalues do not converge");
  }
  Spectrum spectrum;
  spectrum.mean = std::move(mean);
  spectrum.eigenvectors = Matrix(matrix.cols, matrix.cols);
  double sum = 0, squares = 0;
  for (Eigen::Index r = 0; r < dim; ++r) {
    const Eigen::Index source = dim - 1 - r;  // Eigen sorts ascending
    const double value = std::max(solver.eigenvalues()(source), 0.0);
    spectrum.eigenvalues.push_back(value);
    sum += value;
    squares += value * value;
    // An eigenvector's sign is arbitrary: make its largest entry positive, so that rounding cannot
    // flip it.
    Eigen::Index largest = 0;
    solver.eigenvectors().col(source).cwiseAbs().maxCoeff(&largest);
    const double sign = solver.eigenvectors()(largest, source) < 0 ? -1.0 : 1.0;
    float* row = spectrum.eigenvectors.row(static_cast<std::size_t>(r));
    for (Eigen::Index d = 0; d < dim; ++d) {
      row[d] = static_cast<float>(sign * solver.eigenvectors()(d, source));
    }
  }
  spectrum.participation_ratio = squares > 0 ? sum * sum / squares : 0.0;
  return spectrum;
}

Spectrum covariance_spectrum(const MatrixView& x, std::size_t sample, const Executor& executor) {
  if (x.rows == 0 || x.cols == 0 || sample == 0) {
    throw Error(ErrorCode::kEmpty, "covariance_spectrum: no vectors");
  }
  const auto rows = sample_rows(x.rows, sample);
  std::vector<double> mean(x.cols, 0.0);
  for (const std::size_t row : rows) {
    for (std::size_t d = 0; d < x.cols; ++d) mean[d] += x.row(row)[d];
  }
  std::vector<float> mean_row(x.cols);
  for (std::size_t d = 0; d < x.cols; ++d) {
    mean_row[d] = static_cast<float>(mean[d] / static_cast<double>(rows.size()));
  }
  Matrix centred(rows.size(), x.cols), covariance(x.cols, x.cols);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    subtract_mean(x.row(rows[i]), mean_row, centred.row(i));
  }
  kernels::gemm_tn(centred, centred, covariance, executor);

  return symmetric_spectrum(covariance, rows.size(), std::move(mean_row));
}

Projection leading_projection(const Spectrum& spectrum, std::size_t rank) {
  if (rank >= spectrum.mean.size() || spectrum.eigenvalues.front() <= 0.0) {
    return centred_projection(spectrum);
  }
  Matrix basis = Matrix::padded(rank, spectrum.mean.size());
  for (std::size_t r = 0; r < rank; ++r) {
    std::copy_n(spectrum.eigenvectors.row(r), basis.cols(), basis.row(r));
  }
  return {spectrum.mean, std::move(basis)};
}

Projection centred_projection(const Spectrum& spectrum) { return {spectrum.mean, Matrix()}; }

Projection spectral_projection(const Spectrum& spectrum, std::size_t rank) {
  const double smallest = kSmallestEigenvalueShare * spectrum.eigenvalues.front();
  std::size_t kept = 0;
  while (kept < std::min(rank, spectrum.eigenvalues.size()) &&
         spectrum.eigenvalues[kept] > smallest) {
    ++kept;
  }
  if (kept == 0) return centred_projection(spectrum);  // constant data: no direction to prefer
  Matrix basis = Matrix::padded(kept, spectrum.mean.size());
  for (std::size_t r = 0; r < kept; ++r) {
    const auto scale = static_cast<float>(std::pow(spectrum.eigenvalues[r], -0.25));
    for (std::size_t d = 0; d < basis.cols(); ++d) {
      basis.row(r)[d] = scale * spectrum.eigenvectors.row(r)[d];
    }
  }
  return {spectrum.mean, std::move(basis)};
}

}  // namespace halo::gnn
