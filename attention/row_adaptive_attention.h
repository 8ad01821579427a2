// Softmax attention whose temperature is set by each row's own spread of scores, so that no
// temperature needs tuning.
//
//   a_ij = exp(p (s_ij - max_j s_ij) / max(max_j s_ij - min_j s_ij, 1e-4)) / sum,   s_ij = <Q_i,
//   K_j>
//
// The best neighbour of a row weighs e^p times as much as its worst, whatever the data's density
// there. Thread-safe: pure functions.
#pragma once

#include <span>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

/// Turns the scores of one row into its weights, in place. They sum to 1; an empty row stays empty.
/// O(row).
void row_adaptive_weights(std::span<float> scores, float sharpness);

/// out_i = sum_j a_ij V_j over the columns j of row i: Q [n, d], K [m, d], V [m, e], mask [n, m],
/// out [n, e]. An empty row gives zeros. out must not alias an input. O(entries (d + e)). Throws
/// kDimensionMismatch where the shapes do not fit.
void row_adaptive_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                            const CsrView& mask, float sharpness, const MatrixSpan& out,
                            const Executor& executor);

}  // namespace halo::attention
