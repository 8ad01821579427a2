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

/// Through layer_norm, from the rows `x` that went into it: d, the gradient by its output, becomes
/// the gradient by x; adds to d_gain and d_bias (x.cols values). O(rows cols). The bytes do not
/// depend on the executor's threads.
void layer_norm_backward(const MatrixView& x, std::span<const float> gain, float epsilon,
                         const MatrixSpan& d, std::span<float> d_gain, std::span<float> d_bias,
                         const Executor& executor);

/// x_i <- x_i / |x_i|; a zero row stays zero. O(rows cols).
void l2_normalise(const MatrixSpan& x, const Executor& executor);
/// The same, and leaves every row's length: 0 for a row that stays as it is.
void l2_normalise(const MatrixSpan& x, std::span<float> lengths, const Executor& executor);

/// Through l2_normalise, from its output `y` and the rows' lengths before: d, the gradient by y,
/// becomes the gradient by what went in, d_i <- (d_i - y_i <y_i, d_i>) / length; 0 for a row
/// without length. O(rows cols).
void l2_normalise_backward(const MatrixView& y, std::span<const float> lengths, const MatrixSpan& d,
                           const Executor& executor);

}  // namespace halo::gnn
