// Softmax attention without its matrix: tiles of scores, an online softmax, a backward pass that
// recomputes (Dao, Fu, Ermon, Rudra, Re: "FlashAttention", 2022; the banded form is Longformer's
// sliding window, Beltagy, Peters, Cohan 2020). Exact up to rounding.
//
// Private to halo: not installed. Kernels only assert. Thread-safe; outputs alias nothing. The
// bytes do not depend on the number of threads. Workspace: at most 1 MB a thread for heads of up to
// 256 dimensions (620 KB at 64), proportional to the dimension above; backward also n floats a
// head. Plain references in attention_reference.h.
//
// Shapes: q [n, heads * d], k [m, heads * d], v [m, heads * dv], out [n, heads * dv]; head h owns
// columns [h d, (h + 1) d). A caller with one head hands in views of its columns.
#pragma once

#include <cstddef>
#include <limits>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels {

struct FlashOptions {
  static constexpr std::size_t kNoWindow = std::numeric_limits<std::size_t>::max();
  std::size_t heads = 1;
  float scale = 1.0F;
  /// Row i sees the keys i - window ... i + window that exist (then m = n), or every key.
  std::size_t window = kNoWindow;
  /// Forward rounds q, k, v and the probabilities to bfloat16 where the CPU multiplies that in
  /// hardware (bf16.h), at about 1.6 times the speed; softmax and sums stay float32.
  bool half = false;
};

/// out_i = sum_j p_ij v_j, p_i the softmax of scale * q_i . k_j over the keys j that row i sees;
/// zeros where m = 0. lse[h n + i] = log sum_j exp(scale * q_i . k_j), -inf where m = 0: what
/// backward needs; may be empty. O(n min(m, window) heads (d + dv)).
void flash_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const FlashOptions& options, const MatrixSpan& out,
                             std::span<float> lse, const Executor& executor);

/// The same with k and v stored as bfloat16, accumulated in float32; implies options.half.
void flash_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                             const FlashOptions& options, const MatrixSpan& out,
                             std::span<float> lse, const Executor& executor);

struct FlashGradients {
  MatrixSpan q, k, v;  ///< shaped as q, k and v; overwritten
};

/// The gradients of a loss whose gradient by `out` is d_out, from forward's out and lse. About 3.5
/// times the cost of forward: scores are recomputed for the queries' gradients and again for the
/// keys', so that no two threads add to one row.
void flash_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const FlashOptions& options, const MatrixView& out,
                              std::span<const float> lse, const MatrixView& d_out,
                              const FlashGradients& gradients, const Executor& executor);

}  // namespace halo::kernels
