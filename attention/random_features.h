// The random directions of FAVOR+ (Choromanski et al.: "Rethinking attention with performers",
// 2021): standard normal vectors, orthogonal to each other within blocks of `dim`, which estimates
// softmax kernels with less variance than independent ones.
//
// Thread-safety: immutable; copies share the directions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "halo/core/matrix_view.h"

namespace halo::attention {

class RandomFeatures {
 public:
  /// `count` directions of `dim` values. Raising the count costs time linearly and lowers the error
  /// of an estimate as 1 / sqrt(count). The same seed and stream give the same directions. Throws
  /// kInvalidArgument for a count or dim of 0. O(count dim^2).
  RandomFeatures(std::size_t count, std::size_t dim, std::uint64_t seed, std::uint64_t stream = 0);

  /// These directions, whoever drew them. Throws kInvalidArgument where there is none.
  static RandomFeatures from_directions(const MatrixView& directions);

  std::size_t count() const { return directions_->rows(); }
  std::size_t dim() const { return directions_->cols(); }
  /// [count, dim].
  MatrixView directions() const { return *directions_; }

  /// Their layouts for the products' kernels. For this room.
  struct Packed;
  const Packed& packed() const { return *packed_; }

 private:
  explicit RandomFeatures(Matrix directions);
  std::shared_ptr<const Matrix> directions_;
  std::shared_ptr<const Packed> packed_;
};

}  // namespace halo::attention
