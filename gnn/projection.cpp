#include "halo/gnn/projection.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/leading_eigenvectors.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 112, kColumnsAtOnce = 256, kTile = 16;
constexpr double kSmallestEigenvalueShare = 1e-6;
constexpr double kVaries = 1e-9;  // of the largest eigenvalue
constexpr double kBeyond = 1e-6;  // of the variance: what rounding leaves beyond all eigenvalues

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

// out = x^T x, each half computed once.
void products_of(const MatrixView& x, Matrix& out, const Executor& executor) {
  for (std::size_t begin = 0; begin < x.cols; begin += kColumnsAtOnce) {
    const std::size_t end = std::min(begin + kColumnsAtOnce, x.cols);
    kernels::gemm_tn(x.sub_cols(0, end), x.sub_cols(begin, end - begin),
                     out.span().sub_rows(0, end).sub_cols(begin, end - begin), executor);
    executor.parallel_for(end, kTile, [&](std::size_t first, std::size_t last) {
      for (std::size_t tile = begin; tile < end; tile += kTile) {
        for (std::size_t i = tile; i < std::min(tile + kTile, end); ++i) {
          for (std::size_t j = first; j < std::min(last, i); ++j) out.row(i)[j] = out.row(j)[i];
        }
      }
    });
  }
}

Eigen::MatrixXd covariance_of(const MatrixView& products, std::size_t count) {
  const auto dim = static_cast<Eigen::Index>(products.cols);
  Eigen::MatrixXd symmetric(dim, dim);
  for (std::size_t i = 0; i < products.cols; ++i) {
    for (std::size_t j = 0; j < products.cols; ++j) {
      symmetric(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
          products.row(i)[j] / static_cast<double>(count);
    }
  }
  return symmetric;
}

Eigenpairs all_eigenpairs(const Eigen::MatrixXd& symmetric) {
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(symmetric);
  if (solver.info() != Eigen::Success) {
    throw Error(ErrorCode::kNonFinite, "covariance_spectrum: the eigenvalues do not converge");
  }
  const auto dim = static_cast<std::size_t>(symmetric.rows());
  Eigenpairs pairs;
  pairs.vectors = Matrix(dim, dim);
  for (std::size_t r = 0; r < dim; ++r) {
    const auto source = static_cast<Eigen::Index>(dim - 1 - r);  // Eigen sorts ascending
    pairs.values.push_back(std::max(solver.eigenvalues()(source), 0.0));
    for (std::size_t d = 0; d < dim; ++d) {
      pairs.vectors.row(r)[d] =
          static_cast<float>(solver.eigenvectors()(static_cast<Eigen::Index>(d), source));
    }
  }
  return pairs;
}

// The leading eigenpairs of products / count, in float64 where all are asked for.
Eigenpairs eigenpairs(Matrix& products, std::size_t count, std::size_t rank,
                      const Executor& executor) {
  if (rank < products.cols()) {
    for (std::size_t i = 0; i < products.rows(); ++i) {
      kernels::scale(1.0F / static_cast<float>(count), products.row(i), products.cols());
    }
    if (auto leading = leading_eigenpairs(products, rank, executor)) return *std::move(leading);
    count = 1;
  }
  return all_eigenpairs(covariance_of(products, count));
}

// An eigenvector's sign is arbitrary: the largest entry becomes positive, so that rounding cannot
// flip it.
void fix_signs(Matrix& vectors) {
  for (std::size_t r = 0; r < vectors.rows(); ++r) {
    float* row = vectors.row(r);
    const float* largest = std::max_element(
        row, row + vectors.cols(), [](float a, float b) { return std::fabs(a) < std::fabs(b); });
    if (*largest < 0.0F) kernels::scale(-1.0F, row, vectors.cols());
  }
}

std::size_t count_varying(const Spectrum& spectrum, const std::vector<double>& variances) {
  const auto above = [&](const std::vector<double>& values) {
    return static_cast<std::size_t>(std::count_if(values.begin(), values.end(), [&](double v) {
      return v > kVaries * spectrum.eigenvalues.front();
    }));
  };
  const auto total = std::accumulate(variances.begin(), variances.end(), 0.0);
  const auto known = std::accumulate(spectrum.eigenvalues.begin(), spectrum.eigenvalues.end(), 0.0);
  const bool all_known = spectrum.eigenvalues.size() == variances.size();
  return all_known || total - known <= kBeyond * total ? above(spectrum.eigenvalues)
                                                       : above(variances);
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
  const kernels::PackedMatrix packed =
      basis_ ? kernels::pack_transposed(*basis_) : kernels::PackedMatrix();
  executor.parallel_for(x.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    const std::size_t rows = end - begin;
    const MatrixSpan block = out.sub_rows(begin, rows);
    if (!basis_) {
      for (std::size_t i = 0; i < rows; ++i) subtract_mean(x.row(begin + i), mean_, block.row(i));
    } else {
      Matrix centred = Matrix::padded(rows, in_dim());
      for (std::size_t i = 0; i < rows; ++i) subtract_mean(x.row(begin + i), mean_, centred.row(i));
      kernels::gemm(centred, packed, block, inline_executor);
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

Spectrum covariance_spectrum(const MatrixView& x, std::size_t sample, const Executor& executor,
                             std::size_t rank) {
  if (x.rows == 0 || x.cols == 0 || sample == 0) {
    throw Error(ErrorCode::kEmpty, "covariance_spectrum: no vectors");
  }
  const auto rows = sample_rows(x.rows, sample);
  std::vector<double> mean(x.cols, 0.0);
  for (const std::size_t row : rows) {
    for (std::size_t d = 0; d < x.cols; ++d) mean[d] += x.row(row)[d];
  }
  Spectrum spectrum;
  spectrum.mean.resize(x.cols);
  for (std::size_t d = 0; d < x.cols; ++d) {
    spectrum.mean[d] = static_cast<float>(mean[d] / static_cast<double>(rows.size()));
  }
  Matrix centred(rows.size(), x.cols), covariance(x.cols, x.cols);
  executor.parallel_for(rows.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      subtract_mean(x.row(rows[i]), spectrum.mean, centred.row(i));
    }
  });
  products_of(centred, covariance, executor);

  const auto count = static_cast<double>(rows.size());
  std::vector<double> variances(x.cols);
  double trace = 0, squares = 0;
  for (std::size_t d = 0; d < x.cols; ++d) {
    variances[d] = covariance.row(d)[d] / count;
    trace += variances[d];
    for (std::size_t e = 0; e < x.cols; ++e) {
      squares += static_cast<double>(covariance.row(d)[e]) * covariance.row(d)[e];
    }
  }
  squares /= count * count;
  spectrum.participation_ratio = squares > 0 ? trace * trace / squares : 0.0;
  Eigenpairs pairs = eigenpairs(covariance, rows.size(), rank, executor);
  fix_signs(pairs.vectors);
  spectrum.eigenvalues = std::move(pairs.values);
  spectrum.eigenvectors = std::move(pairs.vectors);
  spectrum.varying = count_varying(spectrum, variances);
  return spectrum;
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
