#include "halo/attention/local_global_attention.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/row_kernels.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

constexpr std::size_t kAnyIndex = std::numeric_limits<std::size_t>::max();

void check_mask(const CsrView& mask, std::size_t n) {
  if (mask.rows() != n || mask.num_columns != n) {
    throw Error(ErrorCode::kDimensionMismatch,
                "attention: a local mask of " + std::to_string(mask.rows()) + " x " +
                    std::to_string(mask.num_columns) + " for a sequence of " + std::to_string(n));
  }
}

std::size_t longest_row(const CsrView& mask) {
  std::size_t longest = 0;
  for (std::size_t i = 0; i < mask.rows(); ++i) longest = std::max(longest, mask.row(i).size());
  return longest;
}

// Keys and values of the global nodes of every item: [batch g, 2 d_model], so that every head reads
// a small dense block instead of gathering it for each block of rows.
void gather_globals(std::span<const std::uint32_t> nodes, const TensorView& x, std::size_t d_model,
                    Workspace& workspace) {
  const MatrixSpan globals = Workspace::fit(workspace.globals, x.batch * nodes.size(), 2 * d_model);
  for (std::size_t b = 0; b < x.batch; ++b) {
    for (std::size_t g = 0; g < nodes.size(); ++g) {
      std::copy_n(workspace.qkv.row(b * x.n + nodes[g]) + d_model, 2 * d_model,
                  globals.row(b * nodes.size() + g));
    }
  }
}

}  // namespace

LocalGlobalAttention::LocalGlobalAttention(std::size_t d_model, std::size_t num_heads,
                                           std::span<const std::uint32_t> global_indices,
                                           const AttentionOptions& options) {
  Projections projections(d_model, num_heads, options);
  const float scale = options.scale_for(projections.head_dim());
  parameters_ = std::make_shared<const Parameters>(
      Parameters{std::move(projections), Gate(d_model, num_heads, options), scale});
  update_global_indices(global_indices);
}

LocalGlobalAttention::LocalGlobalAttention(std::size_t d_model, std::size_t num_heads,
                                           std::size_t window_size,
                                           std::span<const std::uint32_t> global_indices,
                                           const AttentionOptions& options)
    : LocalGlobalAttention(d_model, num_heads, global_indices, options) {
  update_window(window_size);
}

LocalGlobalAttention::LocalGlobalAttention(std::size_t d_model, std::size_t num_heads,
                                           std::shared_ptr<const CsrMask> local,
                                           std::span<const std::uint32_t> global_indices,
                                           const AttentionOptions& options)
    : LocalGlobalAttention(d_model, num_heads, global_indices, options) {
  update_local_mask(std::move(local));
}

void LocalGlobalAttention::update_global_indices(std::span<const std::uint32_t> indices) {
  globals_ = checked_indices(indices, kAnyIndex, "attention: global indices");
}

void LocalGlobalAttention::update_window(std::size_t window_size) {
  window_ = window_size;
  local_ = nullptr;
}

void LocalGlobalAttention::update_local_mask(std::shared_ptr<const CsrMask> local) {
  if (local == nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "attention: the local mask is null");
  }
  local_ = std::move(local);
  window_ = 0;
}

std::vector<NamedMatrix> LocalGlobalAttention::named_parameters() const {
  std::vector<NamedMatrix> all = parameters_->projections.named();
  for (NamedMatrix& parameter : parameters_->gate.named()) all.push_back(std::move(parameter));
  return all;
}

LocalGlobalAttention LocalGlobalAttention::with_parameters(
    std::span<const NamedMatrix> parameters) const {
  Projections projections = parameters_->projections.copy();
  Gate gate = parameters_->gate.copy();
  assign_parameters(parameters, [&](const auto& visitor) {
    projections.visit(visitor);
    gate.visit(visitor);
  });
  LocalGlobalAttention changed = *this;
  changed.parameters_ = std::make_shared<const Parameters>(
      Parameters{std::move(projections), std::move(gate), parameters_->scale});
  return changed;
}

Tensor LocalGlobalAttention::forward(const TensorView& x, const Executor& executor) const {
  Workspace workspace;
  Tensor out(x.batch, x.n, x.dim);
  forward(x, nullptr, out, workspace, executor);
  return out;
}

Tensor LocalGlobalAttention::forward(const TensorView& x) const {
  return forward(x, detail::calling_thread());
}

Tensor LocalGlobalAttention::forward(const TensorView& x, const CsrView& local,
                                     const Executor& executor) const {
  Workspace workspace;
  Tensor out(x.batch, x.n, x.dim);
  forward(x, &local, out, workspace, executor);
  return out;
}

void LocalGlobalAttention::forward(const TensorView& x, const CsrView* local, const TensorSpan& out,
                                   Workspace& workspace, const Executor& executor) const {
  detail::check_output(x, out);
  if (!globals_.empty() && globals_.back() >= x.n) {
    throw Error(ErrorCode::kInvalidArgument,
                "attention: global index " + std::to_string(globals_.back()) +
                    " is outside a sequence of " + std::to_string(x.n));
  }
  CsrView mask;
  const bool masked = local != nullptr || local_ != nullptr;
  if (local != nullptr) {
    validate(*local);
    mask = *local;
  } else if (local_ != nullptr) {
    mask = *local_;
  }
  if (masked) check_mask(mask, x.n);

  const Projections& projections = parameters_->projections;
  projections.project_in(x, workspace, executor);
  Workspace::fit(workspace.mixed, x.batch * x.n, d_model());
  const std::size_t g = globals_.size();
  gather_globals(globals_, x, d_model(), workspace);

  const std::size_t block = detail::dense_block(g);
  const std::size_t longest = masked ? longest_row(mask) : detail::longest_window(x.n, window_);
  const std::size_t global_floats = std::min(block, x.n) * head_dim();
  const MatrixSpan scratch =
      Workspace::fit(workspace.scratch, executor.threads(),
                     std::max(longest, std::min(block, x.n) * g) + global_floats);
  detail::for_each_block(
      executor, x.batch * num_heads(), x.n, block,
      [&](std::size_t worker, std::size_t item, std::size_t begin, std::size_t end) {
        const detail::HeadViews head = detail::head_views(workspace, projections, x.n, item);
        const MatrixSpan global_out(scratch.row(worker), end - begin, head_dim());
        float* logits = scratch.row(worker) + global_floats;
        if (g != 0) {
          const MatrixView keys =
              workspace.globals.view()
                  .sub_rows(head.batch_item * g, g)
                  .sub_cols(head.head * head_dim(), 2 * d_model() - head.head * head_dim());
          detail::dense_rows(head.q.sub_rows(begin, end - begin), keys.sub_cols(0, head_dim()),
                             keys.sub_cols(d_model(), head_dim()), parameters_->scale, global_out,
                             logits);
        }
        for (std::size_t i = begin; i < end; ++i) {
          bool has_local = true;
          if (masked) {
            const auto columns = mask.row(i);
            has_local = !columns.empty();
            detail::columns_row(head.q.row(i), head.k, head.v, columns, parameters_->scale,
                                head.out.row(i), logits);
          } else {
            const detail::Range range = detail::window_of(i, window_, x.n);
            detail::window_row(head.q.row(i), head.k, head.v, range.begin, range.end,
                               parameters_->scale, head.out.row(i), logits);
          }
          if (g != 0) {
            parameters_->gate.blend(head.head, x.item(head.batch_item).row(i), has_local,
                                    global_out.row(i - begin), head.out.row(i));
          }
        }
      });
  projections.project_out(workspace, out, executor);
}

}  // namespace halo::attention
