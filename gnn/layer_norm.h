// Row normalisation: layer norm (Ba, Kiros, Hinton 2016) and L2.
//
// Thread-safety: pure functions. In place, over rows; shapes are asserted.
#pragma once

#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

/// x_i <- gain * (x_i - mean) / sqrt(variance + epsilon) + bias per row, mean and variance (biased)
/// in double. A constant row gives `bias`. gain and bias hold x.cols values. O(rows cols).
void layer_norm(const MatrixSpan& x, std::span<const float> gain, std::span<const float> bias,
                float epsilon, const Executor& executor);

/// x_i <- x_i / |x_i|; a zero row stays zero. O(rows cols).
void l2_normalise(const MatrixSpan& x, const Executor& executor);

}  // namespace halo::gnn
