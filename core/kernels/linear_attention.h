// Attention in linear time through positive random features, FAVOR+ (Choromanski et al.:
// "Rethinking attention with performers", 2021): softmax kernels e^(x.y) are estimated by
// phi(x) . phi(y) with phi(x)_r = e^(w_r . x - |x|^2 / 2) / sqrt(k), w_r rows of `omega`.
//
// Private to halo: not installed. Kernels only assert. Thread-safe; outputs alias nothing. The
// bytes do not depend on the number of threads. Who draws omega (standard normal, orthogonal in
// blocks) and scales q and k (by d^(-1/4)) is the caller; sharp attention is estimated badly
// whatever k is. Plain references in linear_attention_reference.h.
#pragma once

#include <cstddef>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/kernels/favor_features.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels {

struct LinearAttentionOptions {
  float scale = 1.0F;  ///< of q and of k: d^(-1/4) estimates softmax(q . k / sqrt(d))
  /// Added to every stabilised feature (the largest is 1), so that no denominator vanishes.
  /// Raising it flattens the attention.
  float epsilon = 1e-6F;
};

/// out = D^-1 phi(q) (phi(k)^T v), D the row sums phi(q) (phi(k)^T 1); zeros where there is no key.
/// Queries are stabilised row by row, keys by their common maximum. q [n, heads d], k [m, heads d],
/// v [m, heads dv], out [n, heads dv]; as many features k in every head. O((n + m) heads k (d +
/// dv)); workspace 130 k + 130 dv floats a thread and at most (32 + 2 heads) k (dv + 1) in all:
/// nothing n x k.
void linear_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              std::span<const FavorMap> heads,
                              const LinearAttentionOptions& options, const MatrixSpan& out,
                              const Executor& executor);

/// One head. omega_t is pack_transposed(omega), omega [k, d].
void linear_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const PackedMatrix& omega_t, const LinearAttentionOptions& options,
                              const MatrixSpan& out, const Executor& executor);

/// The same with k and v stored as bfloat16, accumulated in float32.
void linear_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                              const PackedMatrix& omega_t, const LinearAttentionOptions& options,
                              const MatrixSpan& out, const Executor& executor);

struct LinearGradients {
  MatrixSpan q, k, v;  ///< shaped as q, k and v; overwritten
};

/// The gradients of a loss whose gradient by `out` is d_out. The shifts that stabilise the features
/// count as constants (they cancel but for epsilon); features are recomputed block by block, so
/// memory is about twice forward's. `omega` is pack(omega) and `omega_t` its transpose, as
/// forward's. About 2.5 times the cost of forward.
void linear_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const PackedMatrix& omega, const PackedMatrix& omega_t,
                               const LinearAttentionOptions& options, const MatrixView& d_out,
                               const LinearGradients& gradients, const Executor& executor);

}  // namespace halo::kernels
