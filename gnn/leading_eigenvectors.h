// The leading eigenvectors of a large covariance, without those that nobody asks for.
//
// Chebyshev-filtered subspace iteration (Zhou, Saad, Tiago, Chelikowsky: "Self-consistent-field
// calculations using Chebyshev-filtered subspace iteration", 2006) from a random start (Halko,
// Martinsson, Tropp: "Finding structure with randomness", 2011): products of the matrix with a
// block of vectors, a polynomial that is small on what is not wanted and grows fast beyond it,
// orthonormalisation, and Rayleigh-Ritz on a matrix of the block's size, until the residuals are
// small.
//
// Thread-safe: pure functions; the work runs on the executor. Same bytes at any number of threads.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

struct Eigenpairs {
  std::vector<double> values;  ///< descending
  Matrix vectors;              ///< row i belongs to value i; of unit length, orthogonal to 1e-5
};

struct EigenOptions {
  /// Accepted length of the residual C v - value v, in values: an eigenvalue is then right to about
  /// the square of it, and each vector to about it, mixed with those of the next values. What
  /// float32 products cannot resolve, 1e-6 of the largest value, is accepted besides.
  double tolerance = 1e-1;
  std::size_t most_rounds = 12;
};

/// The `rank` largest eigenvalues of a symmetric matrix [d, d] without eigenvalues below 0, and
/// their vectors; all of them where d is less. Nothing where they have not converged after
/// options.most_rounds. A round is O(degree d^2 b + d b^2 + b^3) for b = 9/8 rank, degree 1 to 6;
/// where b is more than two thirds of d, or d at most 320, the whole matrix is solved, in float32:
/// O(d^3).
std::optional<Eigenpairs> leading_eigenpairs(const MatrixView& matrix, std::size_t rank,
                                             const Executor& executor,
                                             const EigenOptions& options = {});

}  // namespace halo::gnn
