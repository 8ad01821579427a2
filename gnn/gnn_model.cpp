#include "halo/gnn/gnn_model.h"

#include <string>
#include <utility>

#include "halo/core/error.h"

namespace halo::gnn {

LayerNodes layer_nodes_of(std::vector<std::span<const std::uint32_t>> layers) {
  return [layers = std::move(layers)](std::size_t t) {
    return t < layers.size() ? layers[t] : std::span<const std::uint32_t>{};
  };
}

namespace {

std::string prefix(std::size_t layer) { return "layers." + std::to_string(layer) + "."; }

}  // namespace

GnnModel::GnnModel(std::vector<Block> blocks) : blocks_(std::move(blocks)) {
  if (blocks_.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "gnn model: at least one layer is needed");
  }
  for (std::size_t t = 0; t < blocks_.size(); ++t) {
    const std::size_t own = blocks_[t].layer.d_model(), its = blocks_[t].attention.d_model();
    if (own != d_model() || its != d_model()) {
      throw Error(ErrorCode::kDimensionMismatch,
                  "gnn model: layer " + std::to_string(t) + " has d_model " + std::to_string(own) +
                      " and an attention of " + std::to_string(its) + "; the model's is " +
                      std::to_string(d_model()));
    }
  }
}

GnnModel::GnnModel(const attention::LocalGlobalAttention& attention, std::size_t num_layers,
                   const GnnLayerOptions& options)
    : GnnModel(std::vector<Block>(num_layers,
                                  Block{attention, GnnLayer(attention.d_model(), options)})) {}

attention::Tensor GnnModel::run_layer(std::size_t t, const attention::TensorView& x,
                                      const CsrView* local, const LayerNodes& layer_nodes,
                                      GnnLayer::Saved* saved, const Executor& executor) const {
  attention::LocalGlobalAttention attention = blocks_[t].attention;
  if (layer_nodes) attention.update_global_indices(layer_nodes(t));
  if (saved != nullptr) return blocks_[t].layer.forward(x, attention, local, *saved, executor);
  return local != nullptr ? blocks_[t].layer.forward(x, attention, *local, executor)
                          : blocks_[t].layer.forward(x, attention, executor);
}

attention::Tensor GnnModel::forward(const attention::TensorView& x, const LayerNodes& layer_nodes,
                                    const Executor& executor) const {
  attention::Tensor state = run_layer(0, x, nullptr, layer_nodes, nullptr, executor);
  for (std::size_t t = 1; t < num_layers(); ++t) {
    state = run_layer(t, state, nullptr, layer_nodes, nullptr, executor);
  }
  return state;
}

attention::Tensor GnnModel::forward(const attention::TensorView& x, const CsrView& local,
                                    const LayerNodes& layer_nodes, const Executor& executor) const {
  attention::Tensor state = run_layer(0, x, &local, layer_nodes, nullptr, executor);
  for (std::size_t t = 1; t < num_layers(); ++t) {
    state = run_layer(t, state, &local, layer_nodes, nullptr, executor);
  }
  return state;
}

std::vector<attention::Tensor> GnnModel::forward_states(const attention::TensorView& x,
                                                        const CsrView& local,
                                                        const LayerNodes& layer_nodes,
                                                        const Executor& executor) const {
  std::vector<attention::Tensor> states;
  states.reserve(num_layers());
  attention::TensorView input = x;
  for (std::size_t t = 0; t < num_layers(); ++t) {
    states.push_back(run_layer(t, input, &local, layer_nodes, nullptr, executor));
    input = states.back();
  }
  return states;
}

std::vector<attention::NamedMatrix> GnnModel::named_parameters() const {
  std::vector<attention::NamedMatrix> named;
  for (std::size_t t = 0; t < num_layers(); ++t) {
    for (const auto& part :
         {blocks_[t].attention.named_parameters(), blocks_[t].layer.named_parameters()}) {
      for (const attention::NamedMatrix& parameter : part) {
        named.push_back({prefix(t) + parameter.name, parameter.value});
      }
    }
  }
  return named;
}

GnnModel GnnModel::with_parameters(std::span<const attention::NamedMatrix> parameters) const {
  std::vector<Block> blocks = blocks_;
  std::vector<std::vector<attention::NamedMatrix>> of_attention(num_layers()),
      of_layer(num_layers());
  for (const attention::NamedMatrix& parameter : parameters) {
    bool known = false;
    for (std::size_t t = 0; t < num_layers() && !known; ++t) {
      const std::string own = prefix(t);
      if (!parameter.name.starts_with(own)) continue;
      const std::string name = parameter.name.substr(own.size());
      auto& part = name.starts_with("norm_") ? of_layer[t] : of_attention[t];
      part.push_back({name, parameter.value});
      known = true;
    }
    if (!known) {
      throw Error(ErrorCode::kInvalidArgument,
                  "gnn model: there is no parameter " + parameter.name);
    }
  }
  for (std::size_t t = 0; t < num_layers(); ++t) {
    blocks[t].attention = blocks[t].attention.with_parameters(of_attention[t]);
    blocks[t].layer = blocks[t].layer.with_parameters(of_layer[t]);
  }
  return GnnModel(std::move(blocks));
}

attention::Tensor GnnModel::forward(const attention::TensorView& x, const CsrView& local,
                                    const LayerNodes& layer_nodes, Saved& saved,
                                    const Executor& executor) const {
  saved.layers.resize(num_layers());
  saved.states.clear();
  attention::TensorView input = x;
  for (std::size_t t = 0; t + 1 < num_layers(); ++t) {
    saved.states.push_back(run_layer(t, input, &local, layer_nodes, &saved.layers[t], executor));
    input = saved.states.back();
  }
  return run_layer(num_layers() - 1, input, &local, layer_nodes, &saved.layers.back(), executor);
}

void GnnModel::backward(const attention::TensorView& x, Saved& saved,
                        const attention::TensorView& d_y, const attention::TensorSpan* d_x,
                        attention::Gradients& gradients, const Executor& executor) const {
  if (saved.layers.size() != num_layers()) {
    throw Error(ErrorCode::kInvalidArgument, "gnn model: backward without its forward pass");
  }
  attention::Tensor d_state = attention::Tensor::copy_of(d_y);
  for (std::size_t t = num_layers(); t-- > 0;) {
    const attention::TensorView input = t == 0 ? x : saved.states[t - 1].view();
    attention::Gradients d_attention(blocks_[t].attention.named_parameters());
    attention::Gradients d_norm(blocks_[t].layer.named_parameters());
    attention::Tensor d_input(t == 0 ? 0 : x.batch, x.n, x.dim);
    const attention::TensorSpan d_input_span = d_input.span();
    blocks_[t].layer.backward(input, blocks_[t].attention, saved.layers[t], d_state,
                              t == 0 ? d_x : &d_input_span, d_attention, d_norm, executor);
    for (const auto& part : {d_attention.named(), d_norm.named()}) {
      for (const attention::NamedMatrix& gradient : part) {
        gradients.add(prefix(t) + gradient.name, gradient.value);
      }
    }
    d_state = std::move(d_input);
  }
}

}  // namespace halo::gnn
