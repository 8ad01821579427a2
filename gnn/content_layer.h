// One GNN layer of the closed-form content head: attention over a window of graph neighbours, a
// global term from the upper HNSW layer, a residual and normalisation.
//
//   x_i <- norm((1 - beta) x_i + beta sum_j a_ij x_j + mu sum_g b_ig x_g)
//
// a is row-adaptive attention over the node's window, b the same over the layer's global nodes. mu
// is signed and 0 by default: the useful sign depends on the data, so it is learned or left alone.
// A node without a window keeps its state.
//
// Thread-safety: forward functions are const and may run in parallel; update_global_indices is the
// owner's.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/layer_nodes.h"

namespace halo::gnn {

/// Beyond it an attention's exponent leaves float's range.
inline constexpr float kMostSharpness = 1e6F;

struct ContentLayerOptions {
  float sharpness =
      4.0F;  ///< p of row_adaptive_attention.h; raising it narrows attention to the nearest
  float neighbour_share = 2.0F / 3.0F;  ///< beta, 0 to 1; raising it smooths more
  float global_gate = 0.0F;             ///< mu, signed
};

class ContentLayer {
 public:
  explicit ContentLayer(const ContentLayerOptions& options) : options_(options) {}

  const ContentLayerOptions& options() const { return options_; }

  /// The nodes every node may attend to beside its window: keys and values of this layer. Sorted
  /// and merged.
  void update_global_indices(std::span<const std::uint32_t> nodes);
  std::span<const std::uint32_t> global_indices() const { return global_indices_; }

  /// out [n, d] from x [n, d], rows of unit length, over `mask` [n, n]. x and out must not alias.
  /// O(entries d + n g d). Throws kDimensionMismatch, and kInvalidArgument for a global index
  /// outside x.
  void forward(const MatrixView& x, const CsrView& mask, const MatrixSpan& out,
               const Executor& executor) const;

  /// The layer's update of one row that stands outside the graph (a query): `x` [d] in place, over
  /// the stored states of its window and of the global nodes, which stay as they are. `message`
  /// holds d floats of scratch.
  void forward_row(std::span<float> x, const MatrixView& window, const MatrixView& global,
                   std::span<float> message) const;

 private:
  ContentLayerOptions options_;
  std::vector<std::uint32_t> global_indices_;
};

/// The seed's loop: for each GNN layer, take its global nodes from the index, refresh the layer's
/// global indices, run it. `on_state(t, x_t)` sees every state, x_0 = x first. Two states are held
/// at a time.
void run_content_layers(Matrix x, const CsrView& mask, const LayerNodes& global_nodes,
                        std::size_t layers, const ContentLayerOptions& options,
                        const std::function<void(std::size_t t, const MatrixView& state)>& on_state,
                        const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
