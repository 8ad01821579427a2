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

/// The covariance spectrum of a set of vectors, or the leading part of it.
struct Spectrum {
  std::vector<float> mean;
  std::vector<double> eigenvalues;  ///< descending, not below 0
  Matrix eigenvectors;              ///< [eigenvalues, dim]: row i belongs to eigenvalue i
  /// (sum of all eigenvalues)^2 / sum of their squares: how many directions carry the variance; 0
  /// for constant data. From the covariance's trace and norm.
  double participation_ratio = 0;
  /// Directions that vary at all, by more than 1e-9 of the largest eigenvalue. Where only leading
  /// eigenvalues are known and variance lies beyond them: coordinates that do.
  std::size_t varying = 0;
};

/// From at most `sample` rows, evenly spaced. Of more than `rank` dimensions only the leading
/// `rank` directions are computed (leading_eigenvectors.h), else all of them, in float64.
/// O(sample dim^2 + dim^2 rank), or O(sample dim^2 + dim^3). Throws kEmpty without rows, kNonFinite
/// where the eigenvalues do not converge.
Spectrum covariance_spectrum(const MatrixView& x, std::size_t sample, const Executor& executor,
                             std::size_t rank = SIZE_MAX);

Projection centred_projection(const Spectrum& spectrum);
/// The leading `rank` directions as they are; the centred projection where there are no more.
Projection leading_projection(const Spectrum& spectrum, std::size_t rank);
/// The leading `rank` directions whose eigenvalue is above 1e-6 of the largest.
Projection spectral_projection(const Spectrum& spectrum, std::size_t rank);

}  // namespace halo::gnn
