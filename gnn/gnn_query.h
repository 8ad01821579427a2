// A query's way through a trained GNN: it attends to the stored states of its window and of each
// layer's global nodes, which stay as they are. What it costs does not grow with the index.
//
// Thread-safety: immutable; forward may run on any number of threads, each with its own scratch.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/gnn/gnn_model.h"

namespace halo::gnn {

/// The layers that train_gnn.h learns: multi-head attention with signed gates (tanh), a residual of
/// 1 and L2. What a file stores beside the parameters.
struct GnnShape {
  std::size_t layers = 2;  ///< 1 to 8
  std::size_t heads = 4;   ///< 1 to 64; must divide d_model
  float scale = 10.0F;     ///< of the logits <q, k> of every head, above 0

  void validate(std::size_t d_model) const;  ///< throws kInvalidArgument
};

/// Such a model at its start: Q = K = V = O = I and closed gates, so that its layers smooth over
/// the window by the softmax of cosines. Throws kInvalidArgument.
GnnModel make_gnn(std::size_t d_model, const GnnShape& shape);

class GnnQuery {
 public:
  /// `model` as make_gnn made it, with any parameters. Throws kInvalidArgument for another shape.
  GnnQuery(GnnModel model, const GnnShape& shape);

  const GnnModel& model() const { return model_; }
  const GnnShape& shape() const { return shape_; }

  /// Reusable memory of one thread.
  struct Scratch {
    std::vector<float> query, key, logits, mean, local, global;
  };

  /// Layer t's update of `x` [d_model] in place, over the states that entered the layer: `window`
  /// [w, d_model], `globals` [g, d_model]; without globals the gate adds nothing. The row that
  /// GnnModel computes for a node with that window, up to rounding. O(d^2 + heads (w + g) d).
  void forward(std::size_t t, std::span<float> x, const MatrixView& window,
               const MatrixView& globals, Scratch& scratch) const;

 private:
  void attend(std::size_t t, const MatrixView& states, std::span<float> out,
              Scratch& scratch) const;

  GnnModel model_;
  GnnShape shape_;
  std::vector<Matrix> gates_;  // per layer [1, d_model]: tanh of the learned gate
};

}  // namespace halo::gnn
