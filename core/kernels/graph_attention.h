// Attention over the edges of a graph, fused: a row's scores, their softmax and the weighted sum in
// one visit to its neighbours (SDDMM, softmax and SpMM without storing anything per edge).
//
// Private to halo: not installed. Kernels only assert. Thread-safe; outputs alias nothing. The
// bytes do not depend on the number of threads. What limits speed is gathering rows of k and v:
// neighbours near each other in memory (a locality order), rows stored as bfloat16, or k and v side
// by side (views of one matrix's columns) pay. Plain references in attention_reference.h.
//
// Shapes: q [n, heads * d], k [m, heads * d], v [m, heads * dv], out [n, heads * dv]; head h owns
// columns [h d, (h + 1) d). The mask is n x m. Dimensions of a head that are multiples of 8 are
// fastest.
#pragma once

#include <cstddef>
#include <span>

#include "halo/core/aligned_memory.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/transposed_edges.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels {

/// The least spread of scores that `sharpness` divides by.
constexpr float kSmallestSpread = 1e-4F;

struct GraphAttentionOptions {
  std::size_t heads = 1;
  float scale = 1.0F;
  /// [n, heads], or empty for ones: what row i's head h is multiplied by. Of either sign, so that a
  /// node may subtract what its neighbours say.
  MatrixView gates = {};
  /// Forward adds to `out` instead of overwriting it.
  bool add = false;
  /// Forward, without lse: where not 0, the scores of each row and head are stretched so that the
  /// best edge weighs e^sharpness times the worst (attention/row_adaptive_attention.h).
  float sharpness = 0.0F;
};

/// out_i = gate_i sum over mask row i of p_ij v_j, p_i the softmax of scale * q_i . k_j, for each
/// head; nothing for an empty row. lse[i heads + h] = log sum_j exp(scale * q_i . k_j), -inf for an
/// empty row; may be empty. O(entries heads (d + dv)); workspace heads + 2 values an edge of the
/// longest row.
void graph_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse, const Executor& executor);
/// The same with k and v stored as bfloat16, accumulated in float32.
void graph_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse, const Executor& executor);

/// What backward reads of the forward pass: its lse, and its out where that was neither gated nor
/// added to. Empty: backward runs that pass again.
struct GraphForward {
  MatrixView out = {};
  std::span<const float> lse = {};
};

/// What backward keeps of every edge: 2 heads floats.
using GraphWorkspace = AlignedBuffer<float>;

struct GraphGradients {
  MatrixSpan q, k, v;     ///< shaped as q, k and v; overwritten
  MatrixSpan gates = {};  ///< [n, heads]; may be empty
};

/// The gradients of a loss whose gradient by `out` is d_out; probabilities are recomputed from lse.
/// `edges` is transposed_edges(mask); keep it and `workspace`, which grows to 2 heads floats an
/// edge, across steps. O(entries heads (d + dv)): 2.5 times the arithmetic of forward and 3 to 4
/// times its bytes.
void graph_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const GraphForward& saved,
                              const MatrixView& d_out, const GraphGradients& gradients,
                              GraphWorkspace& workspace, const Executor& executor);
/// The same with k and v stored as bfloat16; gradients are float32. Where vectors are 512 bits
/// long, those of k and v are sums of products of values rounded to bfloat16 (d_out with
/// probabilities, q with gradients by score): a relative error of at most 2^-7 a term. Workspace:
/// `heads` d floats a row more.
void graph_attention_backward(const MatrixView& q, const HalfView& k, const HalfView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const GraphForward& saved,
                              const MatrixView& d_out, const GraphGradients& gradients,
                              GraphWorkspace& workspace, const Executor& executor);

}  // namespace halo::kernels
