// Attention of one head as bare functions of Q, K, V: dense, over a mask, over a position window,
// over global keys, over HNSW layers.
//
// Shapes: q [n, d], k [m, d], v [m, dv], out [n, dv]; out_i = sum_j p_ij v_j with p_i the softmax
// of scale * q_i . k_j over the keys j that row i may attend to (Vaswani et al. 2017). A row
// without any such key gives zeros. Rows of `out` are overwritten; `out` must not alias an input.
// Errors: kDimensionMismatch where shapes do not fit, kInvalidArgument for a mask that breaks
// CsrMask's invariants, an index outside k, or a scale that is not finite. Values are not checked:
// NaN in, NaN out.
// Thread-safety: pure functions. The bytes do not depend on the number of threads.
// Plain double-precision twins are in reference.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "halo/attention/hnsw_mask.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

/// Every row attends to every key. O(n m (d + dv)); at most 1 MB or 4 m floats of workspace a
/// thread, never n x m.
void standard_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                        const MatrixSpan& out, const Executor& executor);

/// Row i attends to mask.row(i); the mask is n x m. O(entries (d + dv)).
void csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                   const CsrView& mask, float scale, const MatrixSpan& out,
                   const Executor& executor);

/// Row i attends to the keys i - window ... i + window that exist; m = n. O(n window (d + dv)).
void window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::size_t window, float scale, const MatrixSpan& out,
                      const Executor& executor);

/// Every row attends to the keys `indices`, in any order, each counted once. O(n g (d + dv)).
void global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::span<const std::uint32_t> indices, float scale, const MatrixSpan& out,
                      const Executor& executor);

/// Row i attends to mask.row(i), as csr_attention(mask.to_csr()) without storing it; m = n.
/// O(entries (d + dv)).
void layer_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const LayerMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor);

}  // namespace halo::attention
