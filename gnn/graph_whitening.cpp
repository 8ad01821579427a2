#include "halo/gnn/graph_whitening.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

using Edge = std::pair<std::uint32_t, std::uint32_t>;

constexpr std::size_t kEdgesANode = 10;
constexpr std::size_t kMostEdges = 100000;  // enough to estimate a covariance of 256 directions
constexpr std::size_t kSample = 20000;
constexpr double kShrinkage = 0.1;
constexpr double kSmallestEigenvalueShare = 1e-6;

// Pairs that are in each other's windows, an evenly spaced part of them where there are many.
std::vector<Edge> mutual_edges(const RankedWindows& windows) {
  std::vector<Edge> edges;
  for (std::uint32_t i = 0; i < windows.size(); ++i) {
    for (const auto j : windows.row(i, kEdgesANode)) {
      if (j <= i) continue;
      const auto back = windows.row(j, kEdgesANode);
      if (std::find(back.begin(), back.end(), i) != back.end()) edges.emplace_back(i, j);
    }
  }
  if (edges.size() <= kMostEdges) return edges;
  std::vector<Edge> kept(kMostEdges);
  for (std::size_t e = 0; e < kMostEdges; ++e) kept[e] = edges[e * edges.size() / kMostEdges];
  return kept;
}

// The eigenvectors as rows, each scaled by (shrunk eigenvalue)^(-1/2).
Matrix whitening(const Spectrum& within) {
  const std::size_t dim = within.eigenvalues.size();
  const double floor = kSmallestEigenvalueShare * within.eigenvalues.front();
  double mean = 0;
  for (const double value : within.eigenvalues) mean += std::max(value, floor);
  mean /= static_cast<double>(dim);
  Matrix basis = Matrix::padded(dim, dim);
  for (std::size_t r = 0; r < dim; ++r) {
    const double shrunk =
        (1.0 - kShrinkage) * std::max(within.eigenvalues[r], floor) + kShrinkage * mean;
    const auto scale = static_cast<float>(1.0 / std::sqrt(shrunk));
    for (std::size_t c = 0; c < dim; ++c) {
      basis.row(r)[c] = scale * within.eigenvectors.row(r)[c];
    }
  }
  return basis;
}

Matrix product(const MatrixView& a, const MatrixView& b, const Executor& executor) {
  Matrix out = Matrix::padded(a.rows, b.cols);
  kernels::gemm(a, b, out, executor);
  return out;
}

Matrix leading_rows(const MatrixView& x, std::size_t rows) {
  return Matrix::copy_of(x.sub_rows(0, std::min(rows, x.rows)));
}

}  // namespace

Projection graph_whitened_projection(const MatrixView& x, const Spectrum& spectrum,
                                     const RankedWindows& windows, std::size_t spectral_rank,
                                     std::size_t rank, const Executor& executor) {
  Projection spectral = spectral_projection(spectrum, spectral_rank);
  const auto edges = mutual_edges(windows);
  if (spectral.basis().rows == 0 || edges.empty()) return spectral;
  const std::size_t width = spectral.out_dim();
  Matrix views = Matrix::padded(x.rows, width);
  spectral.apply(x, views, executor);

  Matrix differences = Matrix::padded(edges.size(), width);
  for (std::size_t e = 0; e < edges.size(); ++e) {
    const auto [i, j] = edges[e];
    for (std::size_t c = 0; c < width; ++c) {
      differences.row(e)[c] = views.row(i)[c] - views.row(j)[c];
    }
  }
  Matrix moment(width, width);
  kernels::gemm_tn(differences, differences, moment, executor);
  const Spectrum within = symmetric_spectrum(moment, edges.size(), std::vector<float>(width, 0.0F));
  if (within.eigenvalues.front() <= 0.0) return spectral;  // neighbours are all duplicates
  const Matrix whitened = product(whitening(within), spectral.basis(), executor);

  const Projection whole(spectrum.mean, Matrix::copy_of(whitened));
  Matrix sample = Matrix::padded(std::min(x.rows, kSample), width);
  Matrix rows = Matrix::padded(sample.rows(), x.cols);
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    std::copy_n(x.row(i * x.rows / rows.rows()), x.cols, rows.row(i));
  }
  whole.apply(rows, sample, executor);
  const Spectrum outcome = covariance_spectrum(sample, sample.rows(), executor);
  return {spectrum.mean, product(leading_rows(outcome.eigenvectors, rank), whitened, executor)};
}

}  // namespace halo::gnn
