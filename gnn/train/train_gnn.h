// Trains a GNN end to end from examples of what belongs together: the metric that leads into it,
// the projections of every head and the signed gates, by supervised InfoNCE on the states after the
// last layer. It starts from a learned metric and from layers that smooth over the window.
//
// Every step takes a part of the graph: a batch, its windows, the windows of those, up to a bound,
// and the global nodes; so a step's cost does not grow with the index.
//
// Thread-safety: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/gnn_query.h"
#include "halo/gnn/layer_nodes.h"
#include "halo/gnn/train/example_groups.h"
#include "halo/gnn/train/training_loop.h"

namespace halo::gnn {

struct GnnTrainOptions {
  std::size_t layers = 2;         ///< 1 to 8
  std::size_t heads = 4;          ///< at most; fewer where they do not divide the dimension
  std::size_t window = 16;        ///< neighbours attended to; raising it costs time, linearly
  std::size_t steps = 60;         ///< at most; raising it costs time, linearly
  std::size_t batch = 128;        ///< rows a step, at least 4
  std::size_t most_nodes = 2048;  ///< of a step's part of the graph; cost is linear in it
  std::size_t check_every = 15;   ///< steps between validations
  float rate = 5e-4F;             ///< Adam's, decayed to 0 by a cosine
  float penalty =
      0.02F;  ///< times |P - start|^2 / d for every parameter P: keeps it near its start
  std::uint64_t seed = 1;

  void validate() const;  ///< throws kInvalidArgument
};

/// The graph it runs over, and where it starts.
struct GnnStart {
  MatrixView view;                         ///< [n, r], rows of unit length
  MatrixView weights;                      ///< [r, r]: the metric, x = norm(W view)
  float scale = 10.0F;                     ///< of the metric's cosines
  std::span<const std::uint32_t> windows;  ///< [n, stride], nearest first, 0xffffffff padded
  std::size_t stride = 0;
  LayerNodes global_nodes;  ///< of every GNN layer
};

struct LearnedGnn {
  Matrix weights;  ///< of the metric
  float scale = 0;
  GnnShape shape;
  GnnModel model;
  std::vector<double> losses;
  std::size_t best_step = 0;
};

/// How good a metric and its GNN are on held-out examples; larger is better.
using ValidateGnn = std::function<double(const Matrix& weights, const GnnModel& model)>;

/// Examples number rows of the view. The same seed gives the same bytes at any number of threads,
/// and so does a run continued from a checkpoint. Throws kInvalidArgument, kEmpty,
/// kDimensionMismatch, kModelMismatch (a checkpoint of another training), kCancelled.
/// O(steps most_nodes layers r (r + window)).
LearnedGnn train_gnn(const GnnStart& start, std::span<const Example> examples,
                     const GnnTrainOptions& options, const Executor& executor, const Job& job = {},
                     const ValidateGnn& validate = {}, const Checkpointing& checkpointing = {});

/// The states of all nodes before and after every layer of `gnn`, over `windows`: what a search
/// stores. `on_state(t, x_t)` sees each, x_0 = x first.
void run_gnn(Matrix x, const GnnModel& model, std::span<const std::uint32_t> windows,
             std::size_t stride, std::size_t window, const LayerNodes& global_nodes,
             const std::function<void(std::size_t, const MatrixView&)>& on_state,
             const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
