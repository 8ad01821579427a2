#include "halo/attention/local_global_attention.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "halo/attention/detail/edge_attention.h"
#include "halo/attention/detail/layer_support.h"
#include "halo/attention/detail/local_pattern.h"
#include "halo/attention/detail/row_blocks.h"
#include "halo/attention/detail/saved_state.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/kernels/flash_attention.h"

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

// Queries whose global part is computed at one time: a block of the flash kernel's, within 256 KB.
std::size_t global_rows_at_once(std::size_t d_model) {
  return std::clamp<std::size_t>(65536 / d_model, 4, 96);
}

// Keys and values of the global nodes of one item: [g, 2 d_model].
void gather_globals(std::span<const std::uint32_t> nodes, const MatrixView& qkv,
                    const MatrixSpan& globals) {
  const std::size_t d = globals.cols / 2;
  for (std::size_t g = 0; g < nodes.size(); ++g) {
    std::copy_n(qkv.row(nodes[g]) + d, 2 * d, globals.row(g));
  }
}

}  // namespace

// Where the parts of one forward pass go.
struct LocalGlobalAttention::Parts {
  MatrixSpan qkv, mixed, local;  // [batch n, ...]; local may be mixed
  MatrixSpan global;             // [batch n, d_model], or rows of scratch for every thread
  bool keep_global;
  MatrixSpan global_rows;  // [batch g, 2 d_model]
  std::span<float> lse, global_lse;
};

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

std::size_t LocalGlobalAttention::window_size() const { return pattern_->window(); }

const std::shared_ptr<const CsrMask>& LocalGlobalAttention::local_mask() const {
  return pattern_->owned_mask();
}

void LocalGlobalAttention::update_window(std::size_t window_size) {
  pattern_ = std::make_shared<const detail::LocalPattern>(window_size);
}

void LocalGlobalAttention::update_local_mask(std::shared_ptr<const CsrMask> local) {
  if (local == nullptr) {
    throw Error(ErrorCode::kInvalidArgument, "attention: the local mask is null");
  }
  pattern_ = std::make_shared<const detail::LocalPattern>(std::move(local));
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

std::shared_ptr<const detail::LocalPattern> LocalGlobalAttention::pattern_for(
    const TensorView& x, const CsrView* local) const {
  if (!globals_.empty() && globals_.back() >= x.n) {
    throw Error(ErrorCode::kInvalidArgument,
                "attention: global index " + std::to_string(globals_.back()) +
                    " is outside a sequence of " + std::to_string(x.n));
  }
  std::shared_ptr<const detail::LocalPattern> pattern = pattern_;
  if (local != nullptr) {
    validate(*local);
    pattern = std::make_shared<const detail::LocalPattern>(*local);
  }
  if (pattern->mask() != nullptr) check_mask(*pattern->mask(), x.n);
  return pattern;
}

void LocalGlobalAttention::attend(const TensorView& x, const detail::LocalPattern& pattern,
                                  const Parts& parts, const Executor& executor) const {
  const std::size_t heads = num_heads(), d = d_model(), n = x.n, g = globals_.size();
  const float scale = parameters_->scale;
  const CsrView* mask = pattern.mask();
  const bool half = parameters_->projections.storage() == Storage::kBfloat16;
  for (std::size_t b = 0; b < x.batch; ++b) {
    const detail::Heads all = detail::heads_of(MatrixView(parts.qkv), d, b * n, n);
    const MatrixSpan local = parts.local.sub_rows(b * n, n);
    if (mask == nullptr) {
      kernels::flash_attention_forward(all.q, all.k, all.v, {heads, scale, pattern.window(), half},
                                       local, detail::part(parts.lse, b, n * heads), executor);
    } else {
      detail::edge_attention(all, *mask, {heads, scale}, parameters_->projections.storage(), local,
                             detail::part(parts.lse, b, n * heads), executor);
    }
    if (g == 0) continue;
    const MatrixSpan rows = parts.global_rows.sub_rows(b * g, g);
    gather_globals(globals_, parts.qkv.sub_rows(b * n, n), rows);
    const auto global_part = [&](std::size_t begin, std::size_t end, const MatrixSpan& out,
                                 std::span<float> out_lse, const Executor& on) {
      kernels::flash_attention_forward(
          all.q.sub_rows(begin, end - begin), rows.sub_cols(0, d), rows.sub_cols(d, d),
          {.heads = heads, .scale = scale, .half = half}, out, out_lse, on);
    };
    if (parts.keep_global) {
      global_part(0, n, parts.global.sub_rows(b * n, n),
                  detail::part(parts.global_lse, b, n * heads), executor);
    }
    const std::size_t block = global_rows_at_once(d);
    executor.parallel_for_workers(
        n, block, [&](std::size_t worker, std::size_t begin, std::size_t end) {
          const MatrixSpan global = parts.global.sub_rows(
              parts.keep_global ? b * n + begin : worker * block, end - begin);
          if (!parts.keep_global) global_part(begin, end, global, {}, detail::calling_thread());
          for (std::size_t i = begin; i < end; ++i) {
            parameters_->gate.blend(x.item(b).row(i), mask == nullptr || !mask->row(i).empty(),
                                    local.row(i), global.row(i - begin),
                                    parts.mixed.row(b * n + i));
          }
        });
  }
}

void LocalGlobalAttention::forward(const TensorView& x, const CsrView* local, const TensorSpan& out,
                                   Workspace& workspace, const Executor& executor) const {
  detail::check_output(x, out);
  const auto pattern = pattern_for(x, local);
  const std::size_t rows = x.batch * x.n, d = d_model();
  const MatrixSpan mixed = Workspace::fit(workspace.mixed, rows, d);
  const Parts parts{
      Workspace::fit(workspace.qkv, rows, 3 * d),
      mixed,
      mixed,
      Workspace::fit(workspace.scratch,
                     globals_.empty() ? 0 : executor.threads() * global_rows_at_once(d), d),
      false,
      Workspace::fit(workspace.globals, x.batch * globals_.size(), 2 * d),
      {},
      {}};
  parameters_->projections.project_in(x, parts.qkv, executor);
  attend(x, *pattern, parts, executor);
  parameters_->projections.project_out(mixed, out, executor);
}

void LocalGlobalAttention::forward(const TensorView& x, const CsrView* local, const TensorSpan& out,
                                   SavedForward& saved, const Executor& executor) const {
  detail::check_output(x, out);
  detail::SavedState& state = saved.state();
  state.owner = nullptr;
  state.pattern = pattern_for(x, local);
  const std::size_t rows = x.batch * x.n, d = d_model();
  const bool blended = !globals_.empty();
  state.lse.resize(rows * num_heads());
  state.global_lse.resize(blended ? rows * num_heads() : 0);
  const MatrixSpan mixed = Workspace::fit(state.mixed, rows, d);
  const Parts parts{Workspace::fit(state.qkv, rows, 3 * d),
                    mixed,
                    blended ? Workspace::fit(state.local, rows, d) : mixed,
                    Workspace::fit(state.global, blended ? rows : 0, d),
                    true,
                    Workspace::fit(state.global_rows, x.batch * globals_.size(), 2 * d),
                    state.lse,
                    state.global_lse};
  parameters_->projections.project_in(x, parts.qkv, executor);
  attend(x, *state.pattern, parts, executor);
  parameters_->projections.project_out(mixed, out, executor);
  state.batch = x.batch;
  state.n = x.n;
  state.globals = globals_;
  state.owner = parameters_.get();
}

}  // namespace halo::attention
