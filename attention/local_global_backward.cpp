// The backward pass of LocalGlobalAttention: output projection, gate, global part, local part,
// input projections, each from what forward saved.
#include <algorithm>

#include "halo/attention/detail/edge_attention.h"
#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/local_pattern.h"
#include "halo/attention/detail/saved_state.h"
#include "halo/attention/local_global_attention.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

void add_rows(const MatrixView& from, const MatrixSpan& to, const Executor& executor) {
  executor.parallel_for(to.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      kernels::axpy(1.0F, from.row(i), to.row(i), to.cols);
    }
  });
}

}  // namespace

void LocalGlobalAttention::backward_item(std::size_t b, const TensorView& x,
                                         detail::SavedState& state, Gradients& gradients,
                                         const Executor& executor) const {
  const std::size_t heads = num_heads(), d = d_model(), n = x.n, g = state.globals.size();
  const float scale = parameters_->scale;
  const CsrView* mask = state.pattern->mask();
  const detail::Heads all = detail::heads_of(state.qkv.view(), d, b * n, n);
  const detail::HeadSpans d_all = detail::heads_of(state.d_qkv.span(), d, b * n, n);
  const MatrixSpan d_local = state.d_mixed.span().sub_rows(b * n, n);
  const std::span<const float> lse = state.lse, global_lse = state.global_lse;
  const MatrixView local = (g == 0 ? state.mixed : state.local).view().sub_rows(b * n, n);
  if (g != 0) {
    const Gate::Blended blended{x.item(b), local, state.global.view().sub_rows(b * n, n), mask};
    parameters_->gate.backward(blended, d_local, d_local, state.d_global.span().sub_rows(0, n),
                               state.slopes.span().sub_rows(b * n, n), gradients, executor);
  }
  if (mask == nullptr) {
    kernels::flash_attention_backward(all.q, all.k, all.v, {heads, scale, state.pattern->window()},
                                      local, detail::part(lse, b, n * heads), d_local,
                                      {d_all.q, d_all.k, d_all.v}, executor);
  } else {
    detail::edge_attention_backward(
        all, *state.pattern, {heads, scale}, parameters_->projections.storage(),
        {local, detail::part(lse, b, n * heads)}, d_local, d_all, state.edge_weights, executor);
  }
  if (g == 0) return;
  const MatrixView rows = state.global_rows.view().sub_rows(b * g, g);
  const MatrixSpan d_rows = state.d_global_rows.span().sub_rows(0, g);
  const MatrixSpan d_query = state.d_query.span().sub_rows(0, n);
  kernels::flash_attention_backward(
      all.q, rows.sub_cols(0, d), rows.sub_cols(d, d), {heads, scale},
      state.global.view().sub_rows(b * n, n), detail::part(global_lse, b, n * heads),
      state.d_global.view().sub_rows(0, n), {d_query, d_rows.sub_cols(0, d), d_rows.sub_cols(d, d)},
      executor);
  add_rows(d_query, d_all.q, executor);
  for (std::size_t r = 0; r < g; ++r) {
    kernels::axpy(1.0F, d_rows.row(r), d_all.k.row(state.globals[r]), 2 * d);
  }
}

void LocalGlobalAttention::backward(const TensorView& x, const TensorView& d_out,
                                    SavedForward& saved, const TensorSpan* d_x,
                                    Gradients& gradients, const Executor& executor) const {
  detail::SavedState& state = saved.state();
  detail::check_backward(state, parameters_.get(), x, d_out, d_x);
  const Projections& projections = parameters_->projections;
  const std::size_t total = x.batch * x.n, d = d_model();
  const std::size_t blended = state.globals.empty() ? 0 : x.n;
  Workspace::fit(state.d_qkv, total, 3 * d);
  Workspace::fit(state.d_global, blended, d);
  Workspace::fit(state.d_query, blended, d);
  Workspace::fit(state.d_global_rows, state.globals.size(), 2 * d);
  const MatrixSpan slopes = Workspace::fit(state.slopes, x.batch * blended, num_heads());
  projections.project_out_backward(state.mixed.view().sub_rows(0, total), d_out,
                                   Workspace::fit(state.d_mixed, total, d), gradients, executor);
  for (std::size_t b = 0; b < x.batch; ++b) backward_item(b, x, state, gradients, executor);
  projections.project_in_backward(x, state.d_qkv.view().sub_rows(0, total), d_x, gradients,
                                  executor);
  if (d_x != nullptr && blended != 0) {
    parameters_->gate.add_input_gradient(slopes, d_x->flat(), executor);
  }
}

}  // namespace halo::attention
