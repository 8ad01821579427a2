// A layer that is projections around a pure function of Q, K and V: how its passes run. `core` sees
// one item at a time.
//
// Private to the room.
#pragma once

#include <span>

#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/saved_state.h"
#include "halo/attention/projections.h"
#include "halo/attention/saved_forward.h"

namespace halo::attention::detail {

/// core(heads, out rows, lse): lse is empty here.
template <class Core>
void run_layer(const Projections& projections, const TensorView& x, const TensorSpan& out,
               Workspace& workspace, const Executor& executor, const Core& core) {
  check_output(x, out);
  const std::size_t d = projections.d_model();
  const MatrixSpan qkv = Workspace::fit(workspace.qkv, x.batch * x.n, 3 * d);
  const MatrixSpan mixed = Workspace::fit(workspace.mixed, x.batch * x.n, d);
  projections.project_in(x, qkv, executor);
  for (std::size_t b = 0; b < x.batch; ++b) {
    core(heads_of(MatrixView(qkv), d, b * x.n, x.n), mixed.sub_rows(b * x.n, x.n),
         std::span<float>());
  }
  projections.project_out(mixed, out, executor);
}

/// The same into `saved`; lse has a value a row and head where `keep_lse`.
template <class Core>
void run_layer(const Projections& projections, const TensorView& x, const TensorSpan& out,
               SavedForward& saved, bool keep_lse, const Executor& executor, const Core& core) {
  check_output(x, out);
  const std::size_t d = projections.d_model(), values = x.n * projections.num_heads();
  SavedState& state = saved.state();
  state.owner = nullptr;
  const MatrixSpan qkv = Workspace::fit(state.qkv, x.batch * x.n, 3 * d);
  const MatrixSpan mixed = Workspace::fit(state.mixed, x.batch * x.n, d);
  state.lse.resize(keep_lse ? x.batch * values : 0);
  projections.project_in(x, qkv, executor);
  for (std::size_t b = 0; b < x.batch; ++b) {
    core(heads_of(MatrixView(qkv), d, b * x.n, x.n), mixed.sub_rows(b * x.n, x.n),
         part(std::span<float>(state.lse), b, values));
  }
  projections.project_out(mixed, out, executor);
  state.batch = x.batch;
  state.n = x.n;
  state.owner = &projections;
}

/// core(heads, mixed rows, lse, d_mixed rows, gradients of the heads).
template <class Core>
void run_layer_backward(const Projections& projections, const TensorView& x,
                        const TensorView& d_out, SavedForward& saved, const TensorSpan* d_x,
                        Gradients& gradients, const Executor& executor, const Core& core) {
  SavedState& state = saved.state();
  check_backward(state, &projections, x, d_out, d_x);
  const std::size_t total = x.batch * x.n, d = projections.d_model();
  const MatrixSpan d_qkv = Workspace::fit(state.d_qkv, total, 3 * d);
  const MatrixSpan d_mixed = Workspace::fit(state.d_mixed, total, d);
  const MatrixView mixed = state.mixed.view().sub_rows(0, total);
  projections.project_out_backward(mixed, d_out, d_mixed, gradients, executor);
  for (std::size_t b = 0; b < x.batch; ++b) {
    const std::size_t first = b * x.n;
    core(heads_of(state.qkv.view(), d, first, x.n), mixed.sub_rows(first, x.n),
         part(std::span<const float>(state.lse), b, x.n * projections.num_heads()),
         MatrixView(d_mixed.sub_rows(first, x.n)), heads_of(d_qkv, d, first, x.n));
  }
  projections.project_in_backward(x, d_qkv, d_x, gradients, executor);
}

}  // namespace halo::attention::detail
