// Attention of one head as bare functions of Q, K, V, forward and backward: dense, tiled, over a
// mask, over blocks, over a position window, over global keys, over HNSW layers, through random
// features.
//
// Shapes: q [n, d], k [m, d], v [m, dv], out [n, dv]; out_i = sum_j p_ij v_j with p_i the softmax
// of scale * q_i . k_j over the keys j that row i may attend to (Vaswani et al. 2017). A row
// without any such key gives zeros. Rows of `out` are overwritten; `out` must not alias an input.
// A backward function takes d_out [n, dv], a loss's gradient by out, and overwrites the gradients
// by q, k and v; it recomputes what it needs, so that nothing has to be kept from the forward call.
// Errors: kDimensionMismatch where shapes do not fit, kInvalidArgument for a mask that breaks
// CsrMask's invariants, an index outside k, or a scale that is not finite. Values are not checked:
// NaN in, NaN out.
// Thread-safety: pure functions. The bytes do not depend on the number of threads.
// Plain double-precision twins are in reference.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "halo/attention/block_mask.h"
#include "halo/attention/hnsw_mask.h"
#include "halo/attention/random_features.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention {

/// Shaped as q, k and v; overwritten; must not alias each other or an input.
struct HeadGradients {
  MatrixSpan q, k, v;
};

/// Every row attends to every key, through blocks of the matrix of probabilities. O(n m (d + dv));
/// at most 1 MB or 4 m floats of workspace a thread and a packed copy of k and v, never n x m.
void standard_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                        const MatrixSpan& out, const Executor& executor);
void standard_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                 float scale, const MatrixView& d_out,
                                 const HeadGradients& gradients, const Executor& executor);

/// Row i attends to mask.row(i), through standard_attention's products with the rest set to -inf:
/// for dense masks (see choose.h). Costs as standard_attention.
void masked_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      const CsrView& mask, float scale, const MatrixSpan& out,
                      const Executor& executor);
void masked_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const CsrView& mask, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor);

/// standard_attention in tiles with an online softmax (Dao et al. 2022). O(n m (d + dv)); at most 1
/// MB of workspace a thread for d, dv <= 256. lse [n], where not empty, receives
/// log sum_j exp(scale * q_i . k_j), -inf without keys.
void flash_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                     const MatrixSpan& out, std::span<float> lse, const Executor& executor);
void flash_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              float scale, const MatrixView& d_out, const HeadGradients& gradients,
                              const Executor& executor);

/// Row i attends to mask.row(i); the mask is n x m. O(entries (d + dv)).
void csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                   const CsrView& mask, float scale, const MatrixSpan& out,
                   const Executor& executor);
/// Workspace: 2 floats and 12 bytes an entry.
void csr_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                            const CsrView& mask, float scale, const MatrixView& d_out,
                            const HeadGradients& gradients, const Executor& executor);

/// Row i attends to the keys of its block's blocks; m = n. Dense tiles inside the blocks, so for
/// the same entries several times faster than csr_attention. O(entries (d + dv)).
void block_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const BlockMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor);
/// One thread.
void block_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const BlockMask& mask, float scale, const MatrixView& d_out,
                              const HeadGradients& gradients, const Executor& executor);

/// Row i attends to the keys i - window ... i + window that exist; m = n. O(n window (d + dv)).
void window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::size_t window, float scale, const MatrixSpan& out,
                      const Executor& executor);
void window_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               std::size_t window, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor);

/// Every row attends to the keys `indices`, in any order, each counted once. O(n g (d + dv)).
void global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::span<const std::uint32_t> indices, float scale, const MatrixSpan& out,
                      const Executor& executor);
void global_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               std::span<const std::uint32_t> indices, float scale,
                               const MatrixView& d_out, const HeadGradients& gradients,
                               const Executor& executor);

/// Row i attends to mask.row(i), as csr_attention(mask.to_csr()) without storing it: rows with the
/// same list are dense attention to gathered keys; m = n. O(entries (d + dv)).
void layer_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const LayerMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor);
void layer_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const LayerMask& mask, float scale, const MatrixView& d_out,
                              const HeadGradients& gradients, const Executor& executor);

/// standard_attention estimated through random features, scale > 0: linear in n and m (FAVOR+,
/// Choromanski et al. 2021). Not exact: docs/attention.md tells when it is near.
/// O((n + m) features (d + dv)).
void linear_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      const RandomFeatures& features, float scale, const MatrixSpan& out,
                      const Executor& executor);
void linear_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const RandomFeatures& features, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor);

}  // namespace halo::attention
