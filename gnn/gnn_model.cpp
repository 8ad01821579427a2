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
                                      const Executor& executor) const {
  attention::LocalGlobalAttention attention = blocks_[t].attention;
  if (layer_nodes) attention.update_global_indices(layer_nodes(t));
  return local != nullptr ? blocks_[t].layer.forward(x, attention, *local, executor)
                          : blocks_[t].layer.forward(x, attention, executor);
}

attention::Tensor GnnModel::forward(const attention::TensorView& x, const LayerNodes& layer_nodes,
                                    const Executor& executor) const {
  attention::Tensor state = run_layer(0, x, nullptr, layer_nodes, executor);
  for (std::size_t t = 1; t < num_layers(); ++t) {
    state = run_layer(t, state, nullptr, layer_nodes, executor);
  }
  return state;
}

attention::Tensor GnnModel::forward(const attention::TensorView& x, const CsrView& local,
                                    const LayerNodes& layer_nodes, const Executor& executor) const {
  attention::Tensor state = run_layer(0, x, &local, layer_nodes, executor);
  for (std::size_t t = 1; t < num_layers(); ++t) {
    state = run_layer(t, state, &local, layer_nodes, executor);
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
    states.push_back(run_layer(t, input, &local, layer_nodes, executor));
    input = states.back();
  }
  return states;
}

}  // namespace halo::gnn
