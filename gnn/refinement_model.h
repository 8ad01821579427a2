// The label-free refinement model of one index: content heads whose base states are precomputed,
// and what the harm gate needs to know about the base.
//
// A query is projected into each head's view, attends layer by layer to the stored states of its
// nearest candidates, and is scored by its cosine with the candidates' last states. Base vectors
// never attend to a query, so a model is immutable.
//
// Thread-safety: immutable; score() may run on any number of threads, each with its own scratch.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "halo/core/half_matrix.h"
#include "halo/core/matrix_view.h"
#include "halo/gnn/content_layer.h"
#include "halo/gnn/projection.h"

namespace halo::gnn {

struct RefineOptions {
  /// Graph neighbours a node attends to, re-selected from two hops; 0 takes the index's adaptive
  /// window (2 x average degree). Raising it costs preparation and query time, about linearly, and
  /// smooths more.
  std::size_t window = 32;
  /// GNN layers, 1 to 8. Each costs one stored state of every vector.
  std::size_t layers = 2;
  ContentLayerOptions layer;
  /// Directions of the spectral head, at least 1. Raising it costs memory and query time.
  std::size_t spectral_rank = 256;

  void validate() const;  ///< throws kInvalidArgument
};

struct ContentHead {
  std::string name;  ///< "c" centred, "s" spectral
  float weight = 0;  ///< share of the head in the content score
  Projection projection;
  /// states[t] [size, out_dim]: every base vector after t layers. states[0] of an identity
  /// projection is empty: it is one subtraction away from the vectors.
  std::vector<HalfMatrix> states;
};

/// What a model is made of, and what a file stores.
struct RefinementParts {
  std::size_t size = 0, dim = 0;
  bool unit_input = true;  ///< vectors are scaled to unit length before they are projected (cosine
                           ///< and ip indexes)
  RefineOptions options;
  std::vector<ContentHead> heads;
  std::vector<std::vector<std::uint32_t>> global_nodes;  ///< one list a GNN layer
  /// kCoherenceEdges nearest neighbours of every base vector, nearest first, kNoEdge where it has
  /// fewer (harm_gate.h).
  std::vector<std::uint32_t> edges;
  double base_coherence = 0;       ///< see harm_gate.h
  double participation_ratio = 0;  ///< of the covariance spectrum
  double flatness = 0;             ///< participation ratio / dimensions that vary, 0 to 1
  /// The gate measured on sample queries, for batches too small to measure it on.
  std::optional<double> calibrated_gate;
};

class RefinementModel {
 public:
  /// Checks shapes, ranges and finiteness; throws kCorrupt naming what is wrong.
  static std::shared_ptr<const RefinementModel> create(RefinementParts parts);

  const RefinementParts& parts() const { return parts_; }
  std::size_t size() const { return parts_.size; }
  std::size_t dim() const { return parts_.dim; }
  std::size_t memory_bytes() const;

  /// Reusable memory of one thread.
  struct Scratch {
    std::vector<float> query, message, projected, sorted;
    Matrix window, global;
  };

  /// Fused scores of a query's candidates, larger is better.
  ///   f = gate sum_heads weight z(content) + 2 max(z(-distance), 0)^4,   z(s) = (s - s_101st) /
  ///   (s_1st - s_101st)
  /// `query` [dim], `vectors` [size, dim] as the index stores them, `candidates` nearest first with
  /// their `distances`, `gate` 0 (keep the plain order) to 1. O(heads (dim out_dim + (layers window
  /// + candidates) out_dim)).
  void score(std::span<const float> query, const MatrixView& vectors,
             std::span<const std::uint32_t> candidates, std::span<const float> distances,
             double gate, Scratch& scratch, std::span<float> scores) const;

  /// Attention weights of base node `node` over `columns` (its window) in GNN layer `layer` of head
  /// `head`.
  std::vector<float> attention_weights(std::size_t head, std::size_t layer, std::uint32_t node,
                                       std::span<const std::uint32_t> columns,
                                       const MatrixView& vectors) const;

 private:
  explicit RefinementModel(RefinementParts parts) : parts_(std::move(parts)) {}
  void state(const ContentHead& head, std::size_t layer, std::uint32_t node,
             const MatrixView& vectors, std::span<float> out) const;
  void gather(const ContentHead& head, std::size_t layer, std::span<const std::uint32_t> nodes,
              const MatrixView& vectors, Matrix& out) const;

  RefinementParts parts_;
};

}  // namespace halo::gnn
