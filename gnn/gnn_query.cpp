#include "halo/gnn/gnn_query.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/softmax.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kMostLayers = 8;
constexpr std::size_t kMostHeads = 64;

// out += x W, W [x.size(), out.size()].
void add_product(std::span<const float> x, const MatrixView& weights, std::span<float> out) {
  for (std::size_t l = 0; l < x.size(); ++l) {
    kernels::axpy(x[l], weights.row(l), out.data(), out.size());
  }
}

}  // namespace

void GnnShape::validate(std::size_t d_model) const {
  const bool holds = layers >= 1 && layers <= kMostLayers && heads >= 1 && heads <= kMostHeads &&
                     d_model > 0 && d_model % heads == 0 && scale > 0 && std::isfinite(scale);
  if (!holds) {
    throw Error(ErrorCode::kInvalidArgument,
                "gnn: 1 to 8 layers, 1 to 64 heads that divide the dimension " +
                    std::to_string(d_model) + ", and a scale above 0 are needed");
  }
}

GnnModel make_gnn(std::size_t d_model, const GnnShape& shape) {
  shape.validate(d_model);
  attention::AttentionOptions options;
  options.scale = shape.scale;
  options.gate = attention::GateMode::kSigned;
  options.gate_limit = attention::GateLimit::kTanh;
  const attention::LocalGlobalAttention attention(d_model, shape.heads, std::size_t{0}, {},
                                                  options);
  return GnnModel(attention, shape.layers, {.norm = Norm::kL2, .residual_weight = 1.0F});
}

GnnQuery::GnnQuery(GnnModel model, const GnnShape& shape)
    : model_(std::move(model)), shape_(shape) {
  shape.validate(model_.d_model());
  const auto fits = [&](const GnnModel::Block& block) {
    return block.attention.num_heads() == shape.heads && block.layer.options().norm == Norm::kL2 &&
           block.layer.options().residual_weight == 1.0F &&
           block.attention.gate_mode() == attention::GateMode::kSigned;
  };
  if (model_.num_layers() != shape.layers ||
      !std::all_of(model_.blocks().begin(), model_.blocks().end(), fits)) {
    throw Error(ErrorCode::kInvalidArgument, "gnn: a model of another shape");
  }
  for (const GnnModel::Block& block : model_.blocks()) {
    const auto named = block.attention.named_parameters();
    const auto gate = std::find_if(named.begin(), named.end(),
                                   [](const auto& parameter) { return parameter.name == "gate"; });
    Matrix factors(1, model_.d_model());
    const std::size_t width = gate->value.cols;
    for (std::size_t c = 0; c < factors.cols(); ++c) {
      factors.row(0)[c] = std::tanh(gate->value.row(c / width)[c % width]);
    }
    gates_.push_back(std::move(factors));
  }
}

// Per head: keys are states times W_k, so <q, k_j> = <W_k q, state_j>; the mean of the values is
// the mean state times W_v. Neither is computed for every row of `states`.
void GnnQuery::attend(std::size_t t, const MatrixView& states, std::span<float> out,
                      Scratch& scratch) const {
  const attention::Projections& weights = model_.blocks()[t].attention.projections();
  const std::size_t d = model_.d_model(), width = d / shape_.heads;
  std::fill(out.begin(), out.end(), 0.0F);
  if (states.rows == 0) return;
  scratch.key.resize(d);
  scratch.mean.resize(d);
  scratch.logits.resize(states.rows);
  for (std::size_t h = 0; h < shape_.heads; ++h) {
    const std::size_t first = h * width;
    for (std::size_t l = 0; l < d; ++l) {
      scratch.key[l] =
          kernels::dot(weights.w_k().row(l) + first, scratch.query.data() + first, width);
    }
    for (std::size_t j = 0; j < states.rows; ++j) {
      scratch.logits[j] = shape_.scale * kernels::dot(scratch.key.data(), states.row(j), d);
    }
    kernels::softmax(scratch.logits.data(), states.rows);
    std::fill(scratch.mean.begin(), scratch.mean.end(), 0.0F);
    for (std::size_t j = 0; j < states.rows; ++j) {
      kernels::axpy(scratch.logits[j], states.row(j), scratch.mean.data(), d);
    }
    add_product(scratch.mean, weights.w_v().sub_cols(first, width), out.subspan(first, width));
  }
}

void GnnQuery::forward(std::size_t t, std::span<float> x, const MatrixView& window,
                       const MatrixView& globals, Scratch& scratch) const {
  const attention::Projections& weights = model_.blocks()[t].attention.projections();
  const std::size_t d = x.size();
  scratch.query.assign(d, 0.0F);
  add_product(x, weights.w_q(), scratch.query);
  scratch.local.resize(d);
  attend(t, window, scratch.local, scratch);
  if (globals.rows > 0) {
    scratch.global.resize(d);
    attend(t, globals, scratch.global, scratch);
    const float* gate = gates_[t].row(0);
    for (std::size_t c = 0; c < d; ++c) scratch.local[c] += gate[c] * scratch.global[c];
  }
  add_product(scratch.local, weights.w_o(), x);
  kernels::normalise(x.data(), d);
}

}  // namespace halo::gnn
