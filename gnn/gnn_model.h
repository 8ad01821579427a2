// A stack of GNN layers over one graph, run as the seed notes' loop:
//
//   for each GNN layer t:
//     global_nodes = layer_nodes(t)
//     attention.update_global_indices(global_nodes)
//     x = gnn_layer.forward(x, attention)
//
// The index's layers arrive as a function, so this room needs no index.
//
// Thread-safety: forward is const; it changes only its own copy of each attention, so any number of
// threads may use one model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/attention/local_global_attention.h"
#include "halo/attention/tensor.h"
#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/gnn/gnn_layer.h"
#include "halo/gnn/layer_nodes.h"

namespace halo::gnn {

class GnnModel {
 public:
  struct Block {
    attention::LocalGlobalAttention attention;
    GnnLayer layer;
  };

  /// Each GNN layer with its own attention. Throws kInvalidArgument for no block at all and
  /// kDimensionMismatch where their d_model differ.
  explicit GnnModel(std::vector<Block> blocks);
  /// `num_layers` layers that share one attention, as in the notes.
  GnnModel(const attention::LocalGlobalAttention& attention, std::size_t num_layers,
           const GnnLayerOptions& options = {});

  std::size_t num_layers() const { return blocks_.size(); }
  std::size_t d_model() const { return blocks_.front().layer.d_model(); }
  const std::vector<Block>& blocks() const { return blocks_; }

  /// x [batch, n, d_model] -> the state after the last layer. A null `layer_nodes` leaves each
  /// attention's own global nodes in place. Errors as GnnLayer::forward; a failing call changes
  /// nothing.
  attention::Tensor forward(const attention::TensorView& x, const LayerNodes& layer_nodes,
                            const Executor& executor) const;
  /// The same over the graph `local`, n x n, instead of the attentions' own local patterns.
  attention::Tensor forward(const attention::TensorView& x, const CsrView& local,
                            const LayerNodes& layer_nodes, const Executor& executor) const;
  /// The states after every layer, first to last: what a search stores for its base vectors.
  std::vector<attention::Tensor> forward_states(const attention::TensorView& x,
                                                const CsrView& local, const LayerNodes& layer_nodes,
                                                const Executor& executor) const;

  /// Every layer's: "layers.<t>.<name>", the names as LocalGlobalAttention's and GnnLayer's.
  std::vector<attention::NamedMatrix> named_parameters() const;
  /// The same model with some or all of these; errors as attention::assign_parameters.
  GnnModel with_parameters(std::span<const attention::NamedMatrix> parameters) const;

  /// What a forward pass leaves for its backward pass.
  struct Saved {
    std::vector<GnnLayer::Saved> layers;
    std::vector<attention::Tensor> states;  ///< after each layer but the last
  };
  /// The same bytes as forward; `local` must live until backward.
  attention::Tensor forward(const attention::TensorView& x, const CsrView& local,
                            const LayerNodes& layer_nodes, Saved& saved,
                            const Executor& executor) const;
  /// The gradients of a loss by x and by every parameter, from its gradient d_y by the output of
  /// the last forward(x, ..., saved). Overwrites d_x unless it is null; adds to `gradients`, which
  /// has named_parameters()' names. Errors and cost as LocalGlobalAttention::backward, a layer.
  void backward(const attention::TensorView& x, Saved& saved, const attention::TensorView& d_y,
                const attention::TensorSpan* d_x, attention::Gradients& gradients,
                const Executor& executor) const;

 private:
  attention::Tensor run_layer(std::size_t t, const attention::TensorView& x, const CsrView* local,
                              const LayerNodes& layer_nodes, GnnLayer::Saved* saved,
                              const Executor& executor) const;
  std::vector<Block> blocks_;
};

}  // namespace halo::gnn
