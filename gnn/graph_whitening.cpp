#include "halo/gnn/graph_whitening.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"

namespace halo::gnn {
namespace {

using Edge = std::pair<std::uint32_t, std::uint32_t>;

constexpr std::size_t kEdgesANode = 10;
constexpr std::size_t kMostEdges = 100000;  // enough to estimate a covariance of 256 directions
constexpr std::size_t kSample = 20000;
constexpr float kShrinkage = 0.1F;

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

// G with G M G^T = I for the shrunk moment M of the differences: the inverse of its Cholesky
// factor. Any other root would differ by a rotation, which the principal directions of the outcome
// undo. Empty where the differences are all zero.
Matrix whitening(const MatrixView& products, std::size_t count) {
  using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const auto dim = static_cast<Eigen::Index>(products.cols);
  const Eigen::Map<const RowMajor, 0, Eigen::OuterStride<>> sums(
      products.data, dim, dim, Eigen::OuterStride<>(static_cast<Eigen::Index>(products.stride)));
  RowMajor moment = sums / static_cast<float>(count);
  const float mean = moment.trace() / static_cast<float>(dim);
  if (mean <= 0.0F) return {};
  moment *= 1.0F - kShrinkage;
  moment.diagonal().array() += kShrinkage * mean;
  const Eigen::LLT<RowMajor> factor(moment);
  if (factor.info() != Eigen::Success) {
    throw Error(ErrorCode::kNonFinite, "graph whitening: differences are not finite");
  }
  const RowMajor inverse = factor.matrixL().solve(RowMajor::Identity(dim, dim));
  Matrix out = Matrix::padded(products.cols, products.cols);
  for (std::size_t i = 0; i < out.rows(); ++i) {
    std::copy_n(inverse.data() + i * out.cols(), out.cols(), out.row(i));
  }
  return out;
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
  const Matrix root = whitening(moment, edges.size());
  if (root.rows() == 0) return spectral;  // neighbours are all duplicates

  // norm(G norm(S y)) = norm(G S y): the views stand for the vectors.
  Matrix sample = Matrix::padded(std::min(x.rows, kSample), width);
  for (std::size_t i = 0; i < sample.rows(); ++i) {
    std::copy_n(views.row(i * x.rows / sample.rows()), width, sample.row(i));
  }
  const Projection whole(std::vector<float>(width, 0.0F), Matrix::copy_of(root));
  Matrix whitened = Matrix::padded(sample.rows(), width);
  whole.apply(sample, whitened, executor);
  const Spectrum outcome = covariance_spectrum(whitened, whitened.rows(), executor, rank);
  const Matrix turned = product(leading_rows(outcome.eigenvectors, rank), root, executor);
  return {spectrum.mean, product(turned, spectral.basis(), executor)};
}

}  // namespace halo::gnn
