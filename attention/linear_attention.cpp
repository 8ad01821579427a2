#include "halo/attention/linear_attention.h"

#include <cmath>
#include <utility>

#include "halo/attention/detail/packed_features.h"
#include "halo/attention/detail/projected_layer.h"
#include "halo/attention/detail/row_blocks.h"
#include "halo/attention/head_attention.h"
#include "halo/core/kernels/bf16.h"
#include "halo/core/kernels/linear_attention.h"

namespace halo::attention {
namespace {

constexpr std::uint64_t kFeatureStream = 64;  // apart from the parameters' streams

std::shared_ptr<const std::vector<RandomFeatures>> draw(std::size_t heads, std::size_t count,
                                                        std::size_t dim, std::uint64_t seed) {
  std::vector<RandomFeatures> features;
  for (std::size_t h = 0; h < heads; ++h)
    features.emplace_back(count, dim, seed, kFeatureStream + h);
  return std::make_shared<const std::vector<RandomFeatures>>(std::move(features));
}

void attend(const std::vector<RandomFeatures>& features, float scale, Storage storage,
            const detail::Heads& in, const MatrixSpan& mixed, const Executor& executor) {
  const bool half = storage == Storage::kBfloat16 && kernels::bf16::in_hardware();
  std::vector<kernels::FavorMap> heads;
  for (const RandomFeatures& of : features) {
    heads.push_back({&of.packed().omega_t, half ? &of.packed().half_omega_t : nullptr});
  }
  kernels::linear_attention_forward(in.q, in.k, in.v, heads, {.scale = std::sqrt(scale)}, mixed,
                                    executor);
}

}  // namespace

LinearAttention::LinearAttention(std::size_t d_model, std::size_t num_heads,
                                 std::size_t num_features, const AttentionOptions& options)
    : projections_(std::make_shared<const Projections>(d_model, num_heads, options)),
      features_(draw(num_heads, num_features, projections_->head_dim(), options.seed)),
      scale_(options.scale_for(projections_->head_dim())) {}

void LinearAttention::redraw(std::uint64_t seed) {
  features_ = draw(num_heads(), num_features(), head_dim(), seed);
}

LinearAttention LinearAttention::with_parameters(std::span<const NamedMatrix> parameters) const {
  auto projections = std::make_shared<Projections>(projections_->copy());
  assign_parameters(parameters, [&](const auto& visitor) { projections->visit(visitor); });
  LinearAttention changed = *this;
  changed.projections_ = std::move(projections);
  return changed;
}

Tensor LinearAttention::forward(const TensorView& x, const Executor& executor) const {
  Workspace workspace;
  Tensor out(x.batch, x.n, x.dim);
  forward(x, out, workspace, executor);
  return out;
}

Tensor LinearAttention::forward(const TensorView& x) const {
  return forward(x, detail::calling_thread());
}

void LinearAttention::forward(const TensorView& x, const TensorSpan& out, Workspace& workspace,
                              const Executor& executor) const {
  detail::run_layer(*projections_, x, out, workspace, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float>) {
                      attend(*features_, scale_, projections_->storage(), in, mixed, executor);
                    });
}

void LinearAttention::forward(const TensorView& x, const TensorSpan& out, SavedForward& saved,
                              const Executor& executor) const {
  saved.state().features = features_;
  detail::run_layer(*projections_, x, out, saved, false, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float>) {
                      attend(*features_, scale_, projections_->storage(), in, mixed, executor);
                    });
}

void LinearAttention::backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                               const TensorSpan* d_x, Gradients& gradients,
                               const Executor& executor) const {
  const auto features = saved.state().features;
  detail::run_layer_backward(
      *projections_, x, d_out, saved, d_x, gradients, executor,
      [&](const detail::Heads& in, const MatrixView&, std::span<const float>,
          const MatrixView& d_mixed, const detail::HeadSpans& d_in) {
        const std::size_t d = head_dim();
        for (std::size_t h = 0; h < num_heads(); ++h) {
          const auto of = [&](const auto& m) { return m.sub_cols(h * d, d); };
          linear_attention_backward(of(in.q), of(in.k), of(in.v), (*features)[h], scale_,
                                    of(d_mixed), {of(d_in.q), of(d_in.k), of(d_in.v)}, executor);
        }
      });
}

}  // namespace halo::attention
