#include "halo/attention/gate.h"

#include <algorithm>
#include <cmath>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

constexpr std::uint64_t kGateStream = 16;  // apart from the projections' streams

float limited(GateLimit limit, float g) { return limit == GateLimit::kTanh ? std::tanh(g) : g; }

float sigmoid(float g) { return 1.0F / (1.0F + std::exp(-g)); }

}  // namespace

Gate::Gate(std::size_t d_model, std::size_t num_heads, const AttentionOptions& options)
    : mode_(options.gate), limit_(options.gate_limit) {
  if (mode_ == GateMode::kSignedPerNode) {
    weight_ = Matrix(num_heads, d_model);
    bias_ = Matrix(1, num_heads);
    return;
  }
  gate_ = Matrix(num_heads, d_model / num_heads);
  if (mode_ == GateMode::kConvex) {
    Random random(options.seed, kGateStream);
    for (std::size_t h = 0; h < gate_.rows(); ++h) {
      for (std::size_t c = 0; c < gate_.cols(); ++c) {
        gate_.row(h)[c] = static_cast<float>(0.02 * random.uniform() - 0.01);
      }
    }
  }
  update_shares();
}

std::vector<NamedMatrix> Gate::named() const {
  if (mode_ == GateMode::kSignedPerNode) return {{"gate_weight", weight_}, {"gate_bias", bias_}};
  return {{"gate", gate_}};
}

void Gate::visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor) {
  if (mode_ == GateMode::kSignedPerNode) {
    visitor("gate_weight", weight_.span());
    visitor("gate_bias", bias_.span());
    return;
  }
  visitor("gate", gate_.span());
  update_shares();
}

Gate Gate::copy() const {
  Gate twin;
  twin.mode_ = mode_;
  twin.limit_ = limit_;
  twin.gate_ = Matrix::copy_of(gate_);
  twin.weight_ = Matrix::copy_of(weight_);
  twin.bias_ = Matrix::copy_of(bias_);
  twin.update_shares();
  return twin;
}

void Gate::update_shares() {
  local_share_ = Matrix(gate_.rows(), gate_.cols());
  global_share_ = Matrix(gate_.rows(), gate_.cols());
  for (std::size_t h = 0; h < gate_.rows(); ++h) {
    for (std::size_t c = 0; c < gate_.cols(); ++c) {
      const float g = gate_.row(h)[c];
      const bool convex = mode_ == GateMode::kConvex;
      local_share_.row(h)[c] = convex ? sigmoid(g) : 1.0F;
      global_share_.row(h)[c] = convex ? sigmoid(-g) : limited(limit_, g);
    }
  }
}

std::size_t Gate::num_heads() const {
  return mode_ == GateMode::kSignedPerNode ? weight_.rows() : gate_.rows();
}

float Gate::node_gate(const float* x, std::size_t head) const {
  return kernels::dot(x, weight_.row(head), weight_.cols()) + bias_.row(0)[head];
}

void Gate::blend(const float* x, bool has_local, const float* local, const float* global,
                 float* out) const {
  if (mode_ == GateMode::kSignedPerNode) {
    const std::size_t d = weight_.cols() / weight_.rows();
    for (std::size_t h = 0; h < weight_.rows(); ++h) {
      const float g = limited(limit_, node_gate(x, h));
      for (std::size_t c = h * d; c < (h + 1) * d; ++c) out[c] = local[c] + g * global[c];
    }
    return;
  }
  const std::size_t d = gate_.rows() * gate_.cols();
  if (mode_ == GateMode::kConvex && !has_local) {
    std::copy_n(global, d, out);
    return;
  }
  const float* a = local_share_.data();
  const float* b = global_share_.data();
  for (std::size_t c = 0; c < d; ++c) out[c] = a[c] * local[c] + b[c] * global[c];
}

void Gate::backward_row(const Blended& blended, std::size_t i, const float* d_out, float* d_local,
                        float* d_global, float* slopes, double* d_gate) const {
  const float* local = blended.local.row(i);
  const float* global = blended.global.row(i);
  const std::size_t heads = num_heads(), d = blended.local.cols / heads;
  if (mode_ == GateMode::kSignedPerNode) {
    for (std::size_t h = 0; h < heads; ++h) {
      const float g = node_gate(blended.x.row(i), h), f = limited(limit_, g);
      float slope = 0.0F;
      for (std::size_t c = h * d; c < (h + 1) * d; ++c) {
        slope += d_out[c] * global[c];
        d_global[c] = f * d_out[c];
        d_local[c] = d_out[c];
      }
      slopes[h] = slope * (limit_ == GateLimit::kTanh ? 1.0F - f * f : 1.0F);
    }
    return;
  }
  if (mode_ == GateMode::kConvex && blended.mask != nullptr && blended.mask->row(i).empty()) {
    std::copy_n(d_out, heads * d, d_global);
    std::fill_n(d_local, heads * d, 0.0F);
    return;
  }
  const float* a = local_share_.data();
  const float* b = global_share_.data();
  for (std::size_t c = 0; c < heads * d; ++c) {
    const float slope = d_out[c];
    if (mode_ == GateMode::kConvex) {
      d_gate[c] += static_cast<double>(slope * (local[c] - global[c]) * a[c] * b[c]);
    } else {
      const float by = limit_ == GateLimit::kTanh ? 1.0F - b[c] * b[c] : 1.0F;
      d_gate[c] += static_cast<double>(slope * global[c] * by);
    }
    d_global[c] = b[c] * slope;
    d_local[c] = a[c] * slope;
  }
}

void Gate::backward(const Blended& blended, const MatrixView& d_out, const MatrixSpan& d_local,
                    const MatrixSpan& d_global, const MatrixSpan& slopes, Gradients& gradients,
                    const Executor& executor) const {
  const std::size_t n = d_out.rows, d = d_out.cols;
  // Parts that depend on n only, each summed in row order, then added in the order of the parts.
  const std::size_t rows = std::max<std::size_t>(256, (n + 31) / 32);
  std::vector<double> parts((n + rows - 1) / rows * d, 0.0);
  executor.parallel_for(n, rows, [&](std::size_t begin, std::size_t end) {
    double* part = parts.data() + begin / rows * d;
    for (std::size_t i = begin; i < end; ++i) {
      backward_row(blended, i, d_out.row(i), d_local.row(i), d_global.row(i), slopes.row(i), part);
    }
  });
  if (mode_ == GateMode::kSignedPerNode) {
    Matrix d_weight(weight_.rows(), weight_.cols()), d_bias(1, weight_.rows());
    kernels::gemm_tn(slopes, blended.x, d_weight, executor);
    for (std::size_t h = 0; h < weight_.rows(); ++h) {
      double sum = 0.0;
      for (std::size_t i = 0; i < n; ++i) sum += static_cast<double>(slopes.row(i)[h]);
      d_bias.row(0)[h] = static_cast<float>(sum);
    }
    gradients.add("gate_weight", d_weight);
    gradients.add("gate_bias", d_bias);
    return;
  }
  Matrix d_gate(gate_.rows(), gate_.cols());
  for (std::size_t c = 0; c < d; ++c) {
    double sum = 0.0;
    for (std::size_t p = c; p < parts.size(); p += d) sum += parts[p];
    d_gate.data()[c] = static_cast<float>(sum);
  }
  gradients.add("gate", d_gate);
}

void Gate::add_input_gradient(const MatrixView& slopes, const MatrixSpan& d_x,
                              const Executor& executor) const {
  if (mode_ != GateMode::kSignedPerNode) return;
  executor.parallel_for(d_x.rows, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t h = 0; h < weight_.rows(); ++h) {
        kernels::axpy(slopes.row(i)[h], weight_.row(h), d_x.row(i), d_x.cols);
      }
    }
  });
}

}  // namespace halo::attention
