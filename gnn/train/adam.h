// Adam, the optimiser of everything halo trains.
//
// Thread-safety: belongs to the thread that trains.
// Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"

namespace halo::gnn {

struct AdamOptions {
  float beta1 = 0.9F;         ///< decay of the gradients' mean, 0 to below 1
  float beta2 = 0.999F;       ///< decay of the squared gradients' mean, 0 to below 1
  float epsilon = 1e-8F;      ///< added to the root of the squared gradients' mean, above 0
  float weight_decay = 0.0F;  ///< times the parameter, added to its gradient (L2), not below 0

  void validate() const;  ///< throws kInvalidArgument
};

class Adam {
 public:
  explicit Adam(const AdamOptions& options = {});

  /// One step of `rate` down the gradients, which have the parameters' order and shapes: those of
  /// every step alike. Throws kDimensionMismatch otherwise. O(parameters).
  void step(std::span<const MatrixSpan> parameters, std::span<const MatrixView> gradients,
            float rate);

  /// What a checkpoint holds: steps taken, and per parameter the means of its gradients and of
  /// their squares, one matrix after the other.
  std::uint64_t steps() const { return steps_; }
  std::vector<MatrixView> moments() const;
  /// Goes on from a checkpoint.
  void restore(std::uint64_t steps, std::vector<Matrix> moments);

 private:
  AdamOptions options_;
  std::uint64_t steps_ = 0;
  std::vector<Matrix> moments_;  // mean, mean square, mean, mean square, ...
};

/// base x (1 + cos(pi step / steps)) / 2: from base to 0 over `steps`.
float cosine_decay(float base, std::uint64_t step, std::uint64_t steps);

}  // namespace halo::gnn
