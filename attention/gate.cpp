#include "halo/attention/gate.h"

#include <algorithm>
#include <cmath>

#include "halo/core/kernels/distance.h"
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

void Gate::blend(std::size_t head, const float* x, bool has_local, const float* global,
                 float* local) const {
  if (mode_ == GateMode::kSignedPerNode) {
    const float g =
        limited(limit_, kernels::dot(x, weight_.row(head), weight_.cols()) + bias_.row(0)[head]);
    const std::size_t d = weight_.cols() / weight_.rows();
    for (std::size_t c = 0; c < d; ++c) local[c] += g * global[c];
    return;
  }
  const std::size_t d = gate_.cols();
  if (mode_ == GateMode::kConvex && !has_local) {
    std::copy_n(global, d, local);
    return;
  }
  const float* a = local_share_.row(head);
  const float* b = global_share_.row(head);
  for (std::size_t c = 0; c < d; ++c) local[c] = a[c] * local[c] + b[c] * global[c];
}

}  // namespace halo::attention
