#include "halo/attention/flash_attention.h"

#include <string>
#include <utility>

#include "halo/attention/detail/block_sparse.h"
#include "halo/attention/detail/edge_attention.h"
#include "halo/attention/detail/flash_pattern.h"
#include "halo/attention/detail/projected_layer.h"
#include "halo/attention/detail/row_blocks.h"
#include "halo/core/kernels/flash_attention.h"

namespace halo::attention {
namespace {

using detail::FlashPattern;

void check_pattern(const FlashPattern& pattern, std::size_t n) {
  const CsrView* mask = pattern.entries() == nullptr ? nullptr : pattern.entries()->mask();
  const std::size_t rows =
      mask != nullptr ? mask->rows() : (pattern.blocks() != nullptr ? pattern.blocks()->n() : n);
  if (rows != n || (mask != nullptr && mask->num_columns != n)) {
    throw Error(ErrorCode::kDimensionMismatch, "attention: a mask over " + std::to_string(rows) +
                                                   " positions for a sequence of " +
                                                   std::to_string(n));
  }
}

void attend(const FlashPattern& pattern, std::size_t heads, float scale, Storage storage,
            const detail::Heads& in, const MatrixSpan& mixed, std::span<float> lse,
            const Executor& executor) {
  const bool half = storage == Storage::kBfloat16;
  if (pattern.entries() != nullptr) {
    detail::edge_attention(in, *pattern.entries()->mask(), {heads, scale}, storage, mixed, lse,
                           executor);
  } else if (pattern.blocks() != nullptr) {
    std::vector<float> own(lse.empty() ? heads * in.q.rows : 0);
    detail::block_attention(in.q, in.k, in.v, {.heads = heads, .scale = scale, .half = half},
                            *pattern.blocks(), mixed, lse.empty() ? std::span<float>(own) : lse,
                            executor);
  } else {
    kernels::flash_attention_forward(
        in.q, in.k, in.v, {.heads = heads, .scale = scale, .half = half}, mixed, lse, executor);
  }
}

}  // namespace

FlashAttention::FlashAttention(std::size_t d_model, std::size_t num_heads, std::size_t block_size,
                               const AttentionOptions& options)
    : projections_(std::make_shared<const Projections>(d_model, num_heads, options)),
      block_size_(block_size),
      scale_(options.scale_for(projections_->head_dim())) {
  if (block_size == 0) {
    throw Error(ErrorCode::kInvalidArgument, "attention: block_size must be at least 1");
  }
  attend_everywhere();
}

void FlashAttention::attend_everywhere() { pattern_ = std::make_shared<const FlashPattern>(); }

void FlashAttention::update_mask(std::shared_ptr<const CsrMask> mask) {
  if (mask == nullptr) throw Error(ErrorCode::kInvalidArgument, "attention: the mask is null");
  pattern_ = std::make_shared<const FlashPattern>(std::move(mask));
}

void FlashAttention::update_blocks(std::shared_ptr<const BlockMask> blocks) {
  if (blocks == nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "attention: the block mask is null");
  }
  pattern_ = std::make_shared<const FlashPattern>(std::move(blocks));
}

void FlashAttention::update_layers(std::size_t n, std::size_t band,
                                   const std::vector<std::vector<std::uint32_t>>& layers) {
  update_blocks(
      std::make_shared<const BlockMask>(BlockMask::from_layers(n, block_size_, band, layers)));
}

FlashAttention FlashAttention::with_parameters(std::span<const NamedMatrix> parameters) const {
  auto projections = std::make_shared<Projections>(projections_->copy());
  assign_parameters(parameters, [&](const auto& visitor) { projections->visit(visitor); });
  FlashAttention changed = *this;
  changed.projections_ = std::move(projections);
  return changed;
}

Tensor FlashAttention::forward(const TensorView& x, const Executor& executor) const {
  Workspace workspace;
  Tensor out(x.batch, x.n, x.dim);
  forward(x, out, workspace, executor);
  return out;
}

Tensor FlashAttention::forward(const TensorView& x) const {
  return forward(x, detail::calling_thread());
}

void FlashAttention::forward(const TensorView& x, const TensorSpan& out, Workspace& workspace,
                             const Executor& executor) const {
  check_pattern(*pattern_, x.n);
  detail::run_layer(*projections_, x, out, workspace, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float> lse) {
                      attend(*pattern_, num_heads(), scale_, projections_->storage(), in, mixed,
                             lse, executor);
                    });
}

void FlashAttention::forward(const TensorView& x, const TensorSpan& out, SavedForward& saved,
                             const Executor& executor) const {
  check_pattern(*pattern_, x.n);
  saved.state().flash_pattern = pattern_;
  detail::run_layer(*projections_, x, out, saved, true, executor,
                    [&](const detail::Heads& in, const MatrixSpan& mixed, std::span<float> lse) {
                      attend(*pattern_, num_heads(), scale_, projections_->storage(), in, mixed,
                             lse, executor);
                    });
}

void FlashAttention::backward(const TensorView& x, const TensorView& d_out, SavedForward& saved,
                              const TensorSpan* d_x, Gradients& gradients,
                              const Executor& executor) const {
  const auto pattern = saved.state().flash_pattern;
  detail::run_layer_backward(
      *projections_, x, d_out, saved, d_x, gradients, executor,
      [&](const detail::Heads& in, const MatrixView& mixed, std::span<const float> lse,
          const MatrixView& d_mixed, const detail::HeadSpans& d) {
        const std::size_t heads = num_heads();
        if (pattern->entries() != nullptr) {
          detail::edge_attention_backward(in, *pattern->entries(), {heads, scale_},
                                          projections_->storage(), {mixed, lse}, d_mixed, d,
                                          saved.state().edge_weights, executor);
        } else if (pattern->blocks() != nullptr) {
          detail::block_attention_backward(in.q, in.k, in.v, heads, *pattern->blocks(), scale_,
                                           mixed, lse, d_mixed, d.q, d.k, d.v, executor);
        } else {
          kernels::flash_attention_backward(in.q, in.k, in.v, {heads, scale_}, mixed, lse, d_mixed,
                                            {d.q, d.k, d.v}, executor);
        }
      });
}

}  // namespace halo::attention
