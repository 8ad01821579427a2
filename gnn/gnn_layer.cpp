#include "halo/gnn/gnn_layer.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/layer_norm.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsPerChunk = 256;

bool has_layer_norm(Norm norm) { return norm == Norm::kPostLayer || norm == Norm::kPreLayer; }

void check_dimension(std::size_t layer, std::size_t other, const char* whose) {
  if (layer != other) {
    throw Error(ErrorCode::kDimensionMismatch, "gnn layer: d_model is " + std::to_string(layer) +
                                                   ", that of the " + whose + " is " +
                                                   std::to_string(other));
  }
}

// y += r x.
void add_residual(const attention::TensorView& x, float r, const MatrixSpan& y,
                  const Executor& executor) {
  const MatrixView rows = x.flat();
  executor.parallel_for(rows.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) kernels::axpy(r, rows.row(i), y.row(i), y.cols);
  });
}

}  // namespace

void GnnLayerOptions::validate() const {
  const auto number = static_cast<std::uint32_t>(norm);
  if (number < 1 || number > static_cast<std::uint32_t>(Norm::kPreLayer)) {
    throw Error(ErrorCode::kInvalidArgument,
                "gnn layer: norm " + std::to_string(number) + " is unknown");
  }
  if (!std::isfinite(residual_weight)) {
    throw Error(ErrorCode::kInvalidArgument, "gnn layer: residual_weight must be finite");
  }
  if (!std::isfinite(epsilon) || epsilon <= 0.0F) {
    throw Error(ErrorCode::kInvalidArgument,
                "gnn layer: epsilon must be finite and above 0, got " + std::to_string(epsilon));
  }
}

GnnLayer::GnnLayer(std::size_t d_model, const GnnLayerOptions& options) : options_(options) {
  options.validate();
  if (d_model == 0) {
    throw Error(ErrorCode::kInvalidArgument, "gnn layer: d_model must be at least 1");
  }
  NormParameters norm{Matrix(1, d_model), Matrix(1, d_model)};
  for (std::size_t c = 0; c < d_model; ++c) norm.gain.row(0)[c] = 1.0F;
  norm_ = std::make_shared<const NormParameters>(std::move(norm));
}

std::vector<attention::NamedMatrix> GnnLayer::named_parameters() const {
  if (!has_layer_norm(options_.norm)) return {};
  return {{"norm_gain", norm_->gain}, {"norm_bias", norm_->bias}};
}

GnnLayer GnnLayer::with_parameters(std::span<const attention::NamedMatrix> parameters) const {
  NormParameters norm{Matrix::copy_of(norm_->gain), Matrix::copy_of(norm_->bias)};
  attention::assign_parameters(parameters, [&](const auto& visitor) {
    if (!has_layer_norm(options_.norm)) return;
    visitor("norm_gain", norm.gain.span());
    visitor("norm_bias", norm.bias.span());
  });
  GnnLayer changed = *this;
  changed.norm_ = std::make_shared<const NormParameters>(std::move(norm));
  return changed;
}

attention::Tensor GnnLayer::forward(const attention::TensorView& x,
                                    const attention::LocalGlobalAttention& attention,
                                    const Executor& executor) const {
  return run(x, attention, nullptr, nullptr, executor);
}

attention::Tensor GnnLayer::forward(const attention::TensorView& x,
                                    const attention::LocalGlobalAttention& attention,
                                    const CsrView& local, const Executor& executor) const {
  return run(x, attention, &local, nullptr, executor);
}

attention::Tensor GnnLayer::forward(const attention::TensorView& x,
                                    const attention::LocalGlobalAttention& attention,
                                    const CsrView* local, Saved& saved,
                                    const Executor& executor) const {
  return run(x, attention, local, &saved, executor);
}

attention::Tensor GnnLayer::run(const attention::TensorView& x,
                                const attention::LocalGlobalAttention& attention,
                                const CsrView* local, Saved* saved,
                                const Executor& executor) const {
  check_dimension(d_model(), attention.d_model(), "attention");
  check_dimension(d_model(), x.dim, "input");
  const auto normalise = [&](const MatrixSpan& rows) {
    layer_norm(rows, norm_->gain.row_span(0), norm_->bias.row_span(0), options_.epsilon, executor);
  };
  attention::Tensor normed;
  attention::TensorView input = x;
  if (options_.norm == Norm::kPreLayer) {
    normed = attention::Tensor::copy_of(x);
    normalise(normed.span().flat());
    input = normed;
  }
  attention::Tensor y(x.batch, x.n, x.dim);
  if (saved != nullptr) {
    attention.forward(input, local, y, saved->attention, executor);
  } else {
    attention::Workspace workspace;
    attention.forward(input, local, y, workspace, executor);
  }
  const MatrixSpan rows = y.span().flat();
  add_residual(x, options_.residual_weight, rows, executor);
  if (saved != nullptr && options_.norm == Norm::kPostLayer) {
    saved->kept = attention::Tensor::copy_of(y);
  }
  if (options_.norm == Norm::kPostLayer) normalise(rows);
  if (options_.norm == Norm::kL2 && saved == nullptr) l2_normalise(rows, executor);
  if (options_.norm == Norm::kL2 && saved != nullptr) {
    saved->lengths.resize(rows.rows);
    l2_normalise(rows, saved->lengths, executor);
    saved->kept = attention::Tensor::copy_of(y);
  }
  if (saved != nullptr) saved->normed = std::move(normed);
  return y;
}

void GnnLayer::backward(const attention::TensorView& x,
                        const attention::LocalGlobalAttention& attention, Saved& saved,
                        const attention::TensorView& d_y, const attention::TensorSpan* d_x,
                        attention::Gradients& d_attention, attention::Gradients& d_norm,
                        const Executor& executor) const {
  check_dimension(d_model(), x.dim, "input");
  check_dimension(d_model(), d_y.dim, "output's gradient");
  if (d_y.batch != x.batch || d_y.n != x.n) {
    throw Error(ErrorCode::kDimensionMismatch,
                "gnn layer: the output's gradient has " + std::to_string(d_y.batch * d_y.n) +
                    " rows, the input " + std::to_string(x.batch * x.n));
  }
  const auto through_norm = [&](const MatrixView& seen, const MatrixSpan& d) {
    layer_norm_backward(seen, norm_->gain.row_span(0), options_.epsilon, d,
                        d_norm.at("norm_gain").row_span(0), d_norm.at("norm_bias").row_span(0),
                        executor);
  };
  attention::Tensor d_sum = attention::Tensor::copy_of(d_y);
  const MatrixSpan d = d_sum.span().flat();
  if (options_.norm == Norm::kPostLayer) through_norm(saved.kept.view().flat(), d);
  if (options_.norm == Norm::kL2) {
    l2_normalise_backward(saved.kept.view().flat(), saved.lengths, d, executor);
  }
  const bool pre = options_.norm == Norm::kPreLayer;
  const bool further = d_x != nullptr || pre;  // the norm before it has parameters too
  attention::Tensor d_input(further ? x.batch : 0, x.n, x.dim);
  const attention::TensorSpan d_input_span = d_input.span();
  attention.backward(pre ? saved.normed.view() : x, d_sum, saved.attention,
                     further ? &d_input_span : nullptr, d_attention, executor);
  if (pre) through_norm(x.flat(), d_input_span.flat());
  if (d_x == nullptr) return;
  const MatrixView from = d_input.view().flat();
  const MatrixSpan to = d_x->flat();
  executor.parallel_for(to.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(from.row(i), to.cols, to.row(i));
      kernels::axpy(options_.residual_weight, d.row(i), to.row(i), to.cols);
    }
  });
}

}  // namespace halo::gnn
