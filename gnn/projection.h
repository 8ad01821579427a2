// A head's view of the vectors: centre, project, normalise. Its parameters come from the base
// vectors alone.
//
//   centred  y = norm(x - mean)
//   spectral y = norm(B (x - mean)), rows of B the leading eigenvectors of the covariance, scaled
//   by eigenvalue^(-1/4)
//
// Thread-safety: immutable after construction; copies share the basis.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

class Projection {
 public:
  Projection() = default;
  /// `basis` [out_dim, dim], or empty for the identity. Throws kDimensionMismatch where its width
  /// is not the mean's.
  Projection(std::vector<float> mean, Matrix basis);

  std::size_t in_dim() const { return mean_.size(); }
  std::size_t out_dim() const { return basis_ ? basis_->rows() : mean_.size(); }
  const std::vector<float>& mean() const { return mean_; }
  MatrixView basis() const { return basis_ ? basis_->view() : MatrixView(); }

  /// out [n, out_dim] = the view of x [n, in_dim], rows of unit length; a vector equal to the mean
  /// gives a zero row. O(n in_dim out_dim), O(n in_dim) for the identity.
  void apply(const MatrixView& x, const MatrixSpan& out, const Executor& executor) const;
  /// The same for one vector, without a thread or an allocation; `scratch` holds in_dim floats.
  void apply(const float* x, float* out, float* scratch) const;

 private:
  std::vector<float> mean_;
  std::shared_ptr<const Matrix> basis_;  // shared by copies; null for the identity
};

/// The covariance spectrum of a set of vectors.
struct Spectrum {
  std::vector<float> mean;
  std::vector<double> eigenvalues;  ///< descending, not below 0
  Matrix eigenvectors;              ///< row i belongs to eigenvalue i; [dim, dim]
  /// (sum of eigenvalues)^2 / sum of squared eigenvalues: how many directions carry the variance; 0
  /// for constant data.
  double participation_ratio = 0;
};

/// Of a symmetric [d, d] matrix whose entries are sums over `count` terms (so they are divided by
/// it) and a mean that comes with it. O(d^3). Throws kNonFinite where the eigenvalues do not
/// converge.
Spectrum symmetric_spectrum(const MatrixView& matrix, std::size_t count, std::vector<float> mean);

/// From at most `sample` rows, evenly spaced. O(sample dim^2 + dim^3). Throws kEmpty without rows.
Spectrum covariance_spectrum(const MatrixView& x, std::size_t sample, const Executor& executor);

Projection centred_projection(const Spectrum& spectrum);
/// The leading `rank` directions as they are; the centred projection where there are no more.
Projection leading_projection(const Spectrum& spectrum, std::size_t rank);
/// The leading `rank` directions whose eigenvalue is above 1e-6 of the largest.
Projection spectral_projection(const Spectrum& spectrum, std::size_t rank);

}  // namespace halo::gnn
