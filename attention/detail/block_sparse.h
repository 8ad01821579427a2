// Attention over a BlockMask through the flash kernel: runs of neighbouring key blocks are read
// where they are, scattered ones gathered; partial results are joined by their log-sums.
//
// Private to the room. Shapes are asserted: q, k [n, heads d], v [n, heads dv], out [n, heads dv],
// lse [heads n], head after head, -inf for a row without keys. Outputs alias nothing. The bytes do
// not depend on the number of threads.
#pragma once

#include <cstddef>
#include <span>

#include "halo/attention/block_mask.h"
#include "halo/core/executor.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/matrix_view.h"

namespace halo::attention::detail {

/// The options' window is not looked at. O(entries heads (d + dv)); workspace 256 KB a thread and a
/// block's outputs beyond the flash kernel's.
void block_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const kernels::FlashOptions& options, const BlockMask& mask,
                     const MatrixSpan& out, std::span<float> lse, const Executor& executor);

/// From forward's out and lse; overwrites d_q, d_k and d_v. A thread a head. About 3.5 times
/// forward.
void block_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              std::size_t heads, const BlockMask& mask, float scale,
                              const MatrixView& out, std::span<const float> lse,
                              const MatrixView& d_out, const MatrixSpan& d_q, const MatrixSpan& d_k,
                              const MatrixSpan& d_v, const Executor& executor);

}  // namespace halo::attention::detail
