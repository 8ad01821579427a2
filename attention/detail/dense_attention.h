// Attention through its matrix of probabilities, a block of rows at a time: what StandardAttention
// is, forward and backward.
//
// Private to the room. Shapes are asserted: q [n, heads d], k [m, heads d], v [m, heads dv], out
// [n, heads dv]. Outputs alias nothing. The bytes do not depend on the number of threads.
#pragma once

#include <cstddef>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention::detail {

/// out = softmax(scale q k^T) v for each head, over mask row i where `mask`, n x m, is not null; no
/// keys: zeros. `half`: products in bfloat16 where the CPU has them. O(n m heads (d + dv));
/// workspace: k and v once more, and the logits of dense_block(m) rows a thread.
void dense_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const CsrView* mask, std::size_t heads, float scale, bool half,
                     const MatrixSpan& out, const Executor& executor);

/// The gradients from d_out; overwrites d_q, d_k and d_v. Probabilities are recomputed. A thread a
/// head. About three times dense_attention; workspace two such blocks and a head's k, v a thread.
void dense_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView* mask, std::size_t heads, float scale,
                              const MatrixView& d_out, const MatrixSpan& d_q, const MatrixSpan& d_k,
                              const MatrixSpan& d_v, const Executor& executor);

}  // namespace halo::attention::detail
