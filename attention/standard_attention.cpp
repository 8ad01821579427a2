#include "halo/attention/standard_attention.h"

#include <utility>

#include "halo/attention/detail/dense_attention.h"
#include "halo/attention/detail/projected_layer.h"
#include "halo/attention/detail/row_blocks.h"

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
  detail::run_layer(*projections_, x, out, workspace, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float>) {
                      detail::dense_attention(in.q, in.k, in.v, nullptr, num_heads(), scale_,
                                              projections_->storage() == Storage::kBfloat16, mixed,
                                              executor);
                    });
}

void StandardAttention::forward(const TensorView& x, const TensorSpan& out, SavedForward& saved,
                                const Executor& executor) const {
  detail::run_layer(*projections_, x, out, saved, false, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float>) {
                      detail::dense_attention(in.q, in.k, in.v, nullptr, num_heads(), scale_,
                                              projections_->storage() == Storage::kBfloat16, mixed,
                                              executor);
                    });
}

void StandardAttention::backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                                 const TensorSpan* d_x, Gradients& gradients,
                                 const Executor& executor) const {
  detail::run_layer_backward(*projections_, x, d_out, saved, d_x, gradients, executor,
                             [&](const detail::Heads& in, const MatrixView&, std::span<const float>,
                                 const MatrixView& d_mixed, const detail::HeadSpans& d) {
                               detail::dense_attention_backward(in.q, in.k, in.v, nullptr,
                                                                num_heads(), scale_, d_mixed, d.q,
                                                                d.k, d.v, executor);
                             });
}

}  // namespace halo::attention
