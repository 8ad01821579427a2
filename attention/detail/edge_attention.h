// Attention over a mask's edges with keys and values stored as the layer says.
//
// Private to the room.
#pragma once

#include <span>

#include "halo/attention/attention_options.h"
#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/local_pattern.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/graph_attention.h"

namespace halo::attention::detail {

inline void edge_attention(const Heads& in, const CsrView& mask,
                           const kernels::GraphAttentionOptions& options, Storage storage,
                           const MatrixSpan& out, std::span<float> lse, const Executor& executor) {
  if (storage == Storage::kFloat32) {
    kernels::graph_attention_forward(in.q, in.k, in.v, mask, options, out, lse, executor);
    return;
  }
  const HalfMatrix k = HalfMatrix::rounded(in.k), v = HalfMatrix::rounded(in.v);
  kernels::graph_attention_forward(in.q, k, v, mask, options, out, lse, executor);
}

/// `pattern` is a mask, `saved` forward's. `workspace` is kept across steps.
inline void edge_attention_backward(const Heads& in, const LocalPattern& pattern,
                                    const kernels::GraphAttentionOptions& options, Storage storage,
                                    const kernels::GraphForward& saved, const MatrixView& d_out,
                                    const HeadSpans& d_in, kernels::GraphWorkspace& workspace,
                                    const Executor& executor) {
  const kernels::GraphGradients gradients{d_in.q, d_in.k, d_in.v};
  if (storage == Storage::kFloat32) {
    kernels::graph_attention_backward(in.q, in.k, in.v, *pattern.mask(), pattern.edges(), options,
                                      saved, d_out, gradients, workspace, executor);
    return;
  }
  const HalfMatrix k = HalfMatrix::rounded(in.k), v = HalfMatrix::rounded(in.v);
  kernels::graph_attention_backward(in.q, k, v, *pattern.mask(), pattern.edges(), options, saved,
                                    d_out, gradients, workspace, executor);
}

}  // namespace halo::attention::detail
