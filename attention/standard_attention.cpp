#include "halo/attention/standard_attention.h"

#include <algorithm>
#include <utility>

#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/row_kernels.h"

namespace halo::attention {

StandardAttention::StandardAttention(std::size_t d_model, std::size_t num_heads,
                                     const AttentionOptions& options)
    : projections_(std::make_shared<const Projections>(d_model, num_heads, options)),
      scale_(options.scale_for(projections_->head_dim())) {}

StandardAttention::StandardAttention(std::shared_ptr<const Projections> projections, float scale)
    : projections_(std::move(projections)), scale_(scale) {}

StandardAttention StandardAttention::with_parameters(
    std::span<const NamedMatrix> parameters) const {
  auto changed = std::make_shared<Projections>(projections_->copy());
  assign_parameters(parameters, [&](const auto& visitor) { changed->visit(visitor); });
  return {std::move(changed), scale_};
}

Tensor StandardAttention::forward(const TensorView& x, const Executor& executor) const {
  Workspace workspace;
  Tensor out(x.batch, x.n, x.dim);
  forward(x, out, workspace, executor);
  return out;
}

Tensor StandardAttention::forward(const TensorView& x) const {
  return forward(x, detail::calling_thread());
}

void StandardAttention::forward(const TensorView& x, const TensorSpan& out, Workspace& workspace,
                                const Executor& executor) const {
  detail::check_output(x, out);
  projections_->project_in(x, workspace, executor);
  Workspace::fit(workspace.mixed, x.batch * x.n, d_model());
  const std::size_t block = detail::dense_block(x.n);
  const MatrixSpan scratch =
      Workspace::fit(workspace.scratch, executor.threads(), std::min(block, x.n) * x.n);
  detail::for_each_block(
      executor, x.batch * num_heads(), x.n, block,
      [&](std::size_t worker, std::size_t item, std::size_t begin, std::size_t end) {
        const detail::HeadViews head = detail::head_views(workspace, *projections_, x.n, item);
        detail::dense_rows(head.q.sub_rows(begin, end - begin), head.k, head.v, scale_,
                           head.out.sub_rows(begin, end - begin), scratch.row(worker));
      });
  projections_->project_out(workspace, out, executor);
}

}  // namespace halo::attention
