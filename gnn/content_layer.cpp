#include "halo/gnn/content_layer.h"

#include <algorithm>
#include <string>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 256;

// y += gate sum_j a_j V_j, with a the row-adaptive attention of x over the rows of V.
void add_message(std::span<const float> x, const MatrixView& v, float sharpness, float gate,
                 std::span<float> y) {
  std::vector<float> weights(v.rows);
  for (std::size_t j = 0; j < v.rows; ++j) weights[j] = kernels::dot(x.data(), v.row(j), x.size());
  attention::row_adaptive_weights(weights, sharpness);
  for (std::size_t j = 0; j < v.rows; ++j) {
    kernels::axpy(gate * weights[j], v.row(j), y.data(), y.size());
  }
}

}  // namespace

void ContentLayer::update_global_indices(std::span<const std::uint32_t> nodes) {
  global_indices_.assign(nodes.begin(), nodes.end());
  std::sort(global_indices_.begin(), global_indices_.end());
  global_indices_.erase(std::unique(global_indices_.begin(), global_indices_.end()),
                        global_indices_.end());
}

void ContentLayer::forward(const MatrixView& x, const CsrView& mask, const MatrixSpan& out,
                           const Executor& executor) const {
  if (!global_indices_.empty() && global_indices_.back() >= x.rows) {
    throw Error(ErrorCode::kInvalidArgument, "content layer: global index " +
                                                 std::to_string(global_indices_.back()) + " of " +
                                                 std::to_string(x.rows) + " nodes");
  }
  attention::row_adaptive_attention(x, x, x, mask, options_.sharpness, out, executor);
  Matrix global;
  if (options_.global_gate != 0.0F) {
    global = Matrix::padded(global_indices_.size(), x.cols);
    for (std::size_t g = 0; g < global.rows(); ++g) {
      std::copy_n(x.row(global_indices_[g]), x.cols, global.row(g));
    }
  }
  executor.parallel_for(x.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      float* row = out.row(i);
      kernels::scale(options_.neighbour_share, row, out.cols);
      kernels::axpy(1.0F - options_.neighbour_share, x.row(i), row, out.cols);
      if (!global.empty()) {
        add_message(x.row_span(i), global, options_.sharpness, options_.global_gate,
                    {row, out.cols});
      }
      kernels::normalise(row, out.cols);
    }
  });
}

void ContentLayer::forward_row(std::span<float> x, const MatrixView& window,
                               const MatrixView& global, std::span<float> message) const {
  std::fill(message.begin(), message.end(), 0.0F);
  kernels::axpy(1.0F - options_.neighbour_share, x.data(), message.data(), x.size());
  add_message(x, window, options_.sharpness, options_.neighbour_share, message);
  if (options_.global_gate != 0.0F) {
    add_message(x, global, options_.sharpness, options_.global_gate, message);
  }
  std::copy(message.begin(), message.end(), x.begin());
  kernels::normalise(x.data(), x.size());
}

void run_content_layers(Matrix x, const CsrView& mask, const LayerNodes& global_nodes,
                        std::size_t layers, const ContentLayerOptions& options,
                        const std::function<void(std::size_t, const MatrixView&)>& on_state,
                        const Executor& executor, const Job& job) {
  on_state(0, x);
  Matrix next = Matrix::padded(x.rows(), x.cols());
  ContentLayer layer(options);
  for (std::size_t t = 0; t < layers; ++t) {
    job.check();
    layer.update_global_indices(global_nodes(t));
    layer.forward(x, mask, next, executor);
    std::swap(x, next);
    on_state(t + 1, x);
    job.advance(1);
  }
}

}  // namespace halo::gnn
