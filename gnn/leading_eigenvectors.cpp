#include "halo/gnn/leading_eigenvectors.h"

#include <Eigen/Eigenvalues>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::gnn {
namespace {

constexpr std::uint64_t kSeed = 0x5be0cd19137e2179ULL;
constexpr std::size_t kLeastSpare = 16, kSpareShare = 8;
constexpr std::size_t kSketchLayers = 8;
constexpr std::size_t kPanel = 32;
constexpr std::size_t kSolvedWhole = 320;  // dimensions: no iteration is faster
constexpr double kResolved = 1e-6;  // of the largest eigenvalue: what float32 products resolve
// What a filter may amplify the largest direction by over the smallest of the block: beyond it
// float32 has no digits left for the small ones.
constexpr double kMostGrowth = 3e11;
constexpr std::size_t kMostDegree = 6;

std::size_t block_of(std::size_t rank) { return rank + std::max(kLeastSpare, rank / kSpareShare); }

void fill_random(std::size_t row, float* x, std::size_t d) {
  Random random(kSeed, row);
  for (std::size_t i = 0; i < d; ++i) x[i] = static_cast<float>(random.uniform() - 0.5);
}

// S C, S a random matrix of signs with kSketchLayers entries in each column: one power step for the
// price of some additions (Cohen: "Nearly tight oblivious subspace embeddings by trace
// inequalities", 2016).
Matrix sketch(const MatrixView& matrix, std::size_t rows, const Executor& executor) {
  const std::size_t d = matrix.cols;
  std::vector<std::vector<std::uint32_t>> orders(kSketchLayers);
  for (std::size_t layer = 0; layer < kSketchLayers; ++layer) {
    Random random(kSeed, layer);
    orders[layer].resize(d);
    std::iota(orders[layer].begin(), orders[layer].end(), 0U);
    for (std::size_t i = d; i > 1; --i)
      std::swap(orders[layer][i - 1], orders[layer][random.below(i)]);
  }
  Matrix out = Matrix::padded(rows, d);
  executor.parallel_for(rows, kPanel, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      Random random(kSeed, kSketchLayers + r);
      for (const auto& order : orders) {
        for (std::size_t i = r * d / rows; i < (r + 1) * d / rows; ++i) {
          const float sign = random.below(2) == 0 ? -1.0F : 1.0F;
          kernels::axpy(sign, matrix.row(order[i]), out.row(r), d);
        }
      }
    }
  });
  return out;
}

// Rows of one panel, orthonormal among themselves, in order (modified Gram-Schmidt). A row that
// nothing is left of becomes a random one.
void orthonormalise_panel(const MatrixSpan& panel, std::size_t first_row) {
  for (std::size_t i = 0; i < panel.rows; ++i) {
    float* row = panel.row(i);
    for (int tries = 0; tries < 2; ++tries) {
      for (std::size_t j = 0; j < i; ++j) {
        kernels::axpy(-kernels::dot(panel.row(j), row, panel.cols), panel.row(j), row, panel.cols);
      }
      if (kernels::normalise(row, panel.cols) > 0.0F) break;
      fill_random(first_row + i, row, panel.cols);
    }
  }
}

// Rows orthonormal, in order: row i spans with those before it what it spanned before. Block
// Gram-Schmidt; only two passes leave them orthogonal to rounding.
void orthonormalise(Matrix& q, int passes, const Executor& executor) {
  for (std::size_t begin = 0; begin < q.rows(); begin += kPanel) {
    const MatrixSpan panel = q.span().sub_rows(begin, std::min(kPanel, q.rows() - begin));
    for (std::size_t i = 0; i < panel.rows; ++i) {
      if (kernels::normalise(panel.row(i), panel.cols) <= 0.0F) {
        fill_random(begin + i, panel.row(i), panel.cols);
      }
    }
    for (int pass = 0; pass < passes; ++pass) {
      if (begin > 0) {
        const MatrixView before = q.view().sub_rows(0, begin);
        Matrix shares(begin, panel.rows);
        kernels::gemm_nt(before, panel, shares, executor);
        for (std::size_t i = 0; i < begin; ++i) kernels::scale(-1.0F, shares.row(i), panel.rows);
        kernels::gemm_tn_add(shares, before, panel, executor);
      }
      orthonormalise_panel(panel, begin);
    }
  }
}

// Right: a Matrix, or a PackedMatrix for many products.
template <class Right>
Matrix times(const MatrixView& a, const Right& b, const Executor& executor) {
  Matrix out = Matrix::padded(a.rows, b.cols());
  kernels::gemm(a, b, out, executor);
  return out;
}

double precise_dot(const float* x, const float* y, std::size_t d) {
  double sum = 0;
  for (std::size_t i = 0; i < d; ++i) sum += static_cast<double>(x[i]) * y[i];
  return sum;
}

// A block of vectors q, their images z = q C, and <q_i, z_i> / <q_i, q_i>.
struct Block {
  Matrix q, z;
  std::vector<double> values;

  void measure() {
    values.resize(q.rows());
    for (std::size_t i = 0; i < q.rows(); ++i) {
      values[i] =
          precise_dot(q.row(i), z.row(i), q.cols()) / precise_dot(q.row(i), q.row(i), q.cols());
    }
  }
};

// y <- a y + b x, row by row.
void combine(float a, Matrix& y, float b, const Matrix& x) {
  for (std::size_t i = 0; i < y.rows(); ++i) {
    kernels::scale(a, y.row(i), y.cols());
    kernels::axpy(b, x.row(i), y.row(i), y.cols());
  }
}

// q <- T_m(2 C / cut - 1) q, T_m the Chebyshev polynomial: at most 1 in size for eigenvalues up to
// `cut`. Where the block spans all there is, one more power step.
void filter(Block& block, const kernels::PackedMatrix& matrix, double cut,
            const Executor& executor) {
  const double largest = *std::max_element(block.values.begin(), block.values.end());
  if (cut <= kResolved * largest) {
    std::swap(block.q, block.z);
    return;
  }
  const auto scale = static_cast<float>(2.0 / cut);
  const auto degree = std::clamp<std::size_t>(
      static_cast<std::size_t>(std::log(kMostGrowth) / std::log(std::max(2.0, largest / cut))), 1,
      kMostDegree);
  Matrix before = std::move(block.q), now = std::move(block.z);
  combine(scale, now, -1.0F, before);
  for (std::size_t m = 2; m <= degree; ++m) {
    Matrix next = times(now, matrix, executor);
    combine(2.0F * scale, next, -2.0F, now);
    combine(1.0F, next, -1.0F, before);
    before = std::exchange(now, std::move(next));
  }
  block.q = std::move(now);
}

// Turns the block to the eigenvectors of C within its span (Rayleigh-Ritz), largest first. False
// where they do not converge.
bool rotate_to_ritz(Block& block, const Executor& executor) {
  const std::size_t size = block.q.rows();
  Matrix small(size, size);
  kernels::gemm_nt(block.z, block.q, small, executor);
  const auto b = static_cast<Eigen::Index>(size);
  Eigen::MatrixXf symmetric(b, b);
  for (std::size_t i = 0; i < size; ++i) {
    for (std::size_t j = 0; j < size; ++j) {
      symmetric(static_cast<Eigen::Index>(i), static_cast<Eigen::Index>(j)) =
          0.5F * (small.row(i)[j] + small.row(j)[i]);
    }
  }
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXf> solver(symmetric);
  if (solver.info() != Eigen::Success) return false;
  for (std::size_t i = 0; i < size; ++i) {  // Eigen sorts ascending
    for (std::size_t j = 0; j < size; ++j) {
      small.row(i)[j] = solver.eigenvectors()(static_cast<Eigen::Index>(j),
                                              static_cast<Eigen::Index>(size - 1 - i));
    }
  }
  block.q = times(small, block.q, executor);
  block.z = times(small, block.z, executor);
  block.measure();
  return true;
}

bool converged(const Block& block, std::size_t rank, double tolerance) {
  const double floor = kResolved * block.values.front();
  for (std::size_t i = 0; i < rank; ++i) {
    double squares = 0;
    for (std::size_t c = 0; c < block.q.cols(); ++c) {
      const double off = block.z.row(i)[c] - block.values[i] * block.q.row(i)[c];
      squares += off * off;
    }
    const double accepted = tolerance * std::max(block.values[i], 0.0) + floor;
    if (!(std::sqrt(squares) <= accepted)) return false;  // nor where it is NaN
  }
  return true;
}

// Largest first: Ritz values that float32 cannot tell apart may come in another order.
Eigenpairs sorted(const Block& block, std::size_t rank) {
  std::vector<std::size_t> order(block.values.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(),
                   [&](auto a, auto b) { return block.values[a] > block.values[b]; });
  Eigenpairs pairs;
  pairs.vectors = Matrix::padded(rank, block.q.cols());
  for (std::size_t i = 0; i < rank; ++i) {
    pairs.values.push_back(std::max(block.values[order[i]], 0.0));
    std::copy_n(block.q.row(order[i]), block.q.cols(), pairs.vectors.row(i));
    kernels::normalise(pairs.vectors.row(i), block.q.cols());
  }
  return pairs;
}

}  // namespace

std::optional<Eigenpairs> leading_eigenpairs(const MatrixView& matrix, std::size_t rank,
                                             const Executor& executor,
                                             const EigenOptions& options) {
  rank = std::min(rank, matrix.cols);
  Block block;
  if (3 * block_of(rank) > 2 * matrix.cols || matrix.cols <= kSolvedWhole) {
    block.q = Matrix::padded(matrix.cols, matrix.cols);
    for (std::size_t i = 0; i < matrix.cols; ++i) block.q.row(i)[i] = 1.0F;
    block.z = Matrix::copy_of(matrix);
    if (!rotate_to_ritz(block, executor)) return std::nullopt;
    return sorted(block, rank);
  }
  const std::size_t size = block_of(rank);
  const kernels::PackedMatrix packed = kernels::pack_in_parallel(matrix, executor);
  block.q = sketch(matrix, size, executor);
  orthonormalise(block.q, 1, executor);
  block.q = times(block.q, packed, executor);
  orthonormalise(block.q, 1, executor);
  block.z = times(block.q, packed, executor);
  block.measure();
  for (std::size_t round = 0; round < options.most_rounds; ++round) {
    // The smallest of the block lies below what is wanted, and above nearly all that is not.
    const double cut = *std::min_element(block.values.begin(), block.values.end());
    filter(block, packed, cut, executor);
    orthonormalise(block.q, 2, executor);
    block.z = times(block.q, packed, executor);
    if (!rotate_to_ritz(block, executor)) return std::nullopt;
    if (converged(block, rank, options.tolerance)) return sorted(block, rank);
  }
  return std::nullopt;
}

}  // namespace halo::gnn
