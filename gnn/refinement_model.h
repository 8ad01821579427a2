// The refinement model of one index: heads whose base states and structure are precomputed, and
// what the harm gate needs to know about the base. query_refinement.h answers queries with it.
//
// Base vectors never attend to a query, so a model is immutable.
//
// Thread-safety: immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "halo/core/byte_matrix.h"
#include "halo/core/matrix_view.h"
#include "halo/gnn/content_layer.h"
#include "halo/gnn/index_identity.h"
#include "halo/gnn/projection.h"
#include "halo/gnn/structure.h"
#include "halo/gnn/window_entries.h"

namespace halo::gnn {

struct RefineOptions {
  /// Neighbours a node attends to, the head's nearest of its wide window; 0 takes the index's
  /// adaptive window (2 x average degree). Raising it costs preparation and query time, about
  /// linearly, and smooths more.
  std::size_t window = 32;
  /// Graph neighbours from which every head re-selects its own window, in windows: 1 to 16.
  std::size_t wide_windows = 2;
  /// GNN layers of the content part, 1 to 8. They cost preparation time only.
  std::size_t layers = 2;
  ContentLayerOptions layer;
  StructureOptions structure;
  /// Which entries of the windows the layers and the walks of base vectors keep: all of them.
  EntryOptions entries;
  /// Directions of the centred head. Raising it costs memory and query time.
  std::size_t centred_rank = 256;
  /// Directions that the graph-whitened head starts from, and those that it keeps.
  std::size_t spectral_rank = 256;
  std::size_t whitened_rank = 128;
  /// Most of the float32 vectors' memory that a model chosen without labels may take, above 0: what
  /// does not fit is cut (gnn/memory_budget.h). Raising it keeps more on vectors of few dimensions.
  double memory_share = 0.6;
  /// Bytes that preparing may take beside the index, 0 for no limit; more is refused with
  /// kMemoryLimit before it begins (integration/refine.h). Not stored with a model.
  std::size_t memory_limit = 0;

  void validate() const;  ///< throws kInvalidArgument
};

struct RefinementHead {
  std::string name;         ///< "c" centred, "g" graph-whitened, or a trained head's own
  float weight = 0;         ///< share of the refined score, 0 to 1
  float content_share = 0;  ///< of the head's score, 0 to 1; the rest is structure
  Projection projection;
  ByteMatrix states;        ///< [size, out_dim]: every base vector after the last GNN layer
  StructureRows structure;  ///< of every base vector
  std::vector<std::int16_t> thresholds;  ///< [size]: see threshold(), in steps of 1 / 32,767
  EntryBars bars;                        ///< where not every entry is kept

  /// A query that is at least this similar to the node's state would be in its window.
  float threshold(std::size_t node) const {
    return static_cast<float>(thresholds[node]) / kThresholdSteps;
  }
  static constexpr float kThresholdSteps = 32767.0F;
};

/// What a model is made of, and what a file stores.
struct RefinementParts {
  IndexIdentity index;  ///< the index it belongs to
  std::size_t size = 0, dim = 0;
  bool unit_input = true;  ///< vectors are scaled to unit length before they are projected (cosine
                           ///< and ip indexes)
  RefineOptions options;
  std::vector<RefinementHead> heads;
  std::vector<std::uint32_t> global_nodes;  ///< of the last GNN layer: what a query may attend to
  /// kCoherenceEdges nearest neighbours of every base vector, nearest first, kNoEdge where it has
  /// fewer (harm_gate.h).
  std::vector<std::uint32_t> edges;
  double base_coherence = 0;       ///< see harm_gate.h
  double participation_ratio = 0;  ///< of the covariance spectrum
  double flatness = 0;             ///< participation ratio / dimensions that vary, 0 to 1
  double transitivity_ratio = 0;   ///< of the graph-whitened head's windows to the centred head's
  /// The gate measured on sample queries, for batches too small to measure it on.
  std::optional<double> calibrated_gate;
  /// Nodes to be computed again since the index changed, ascending: see
  /// integration/refine_update.h. Those without any walk yet are judged by their raw vectors.
  std::vector<std::uint32_t> dirty;
  std::size_t changed = 0;  ///< vectors added, replaced or removed since the heads were chosen
  double drift = 0;  ///< of the vectors' mean from the heads', in units of the vectors' spread
};

class RefinementModel {
 public:
  /// Checks shapes, ranges and finiteness; throws kCorrupt naming what is wrong.
  static std::shared_ptr<const RefinementModel> create(RefinementParts parts);

  const RefinementParts& parts() const { return parts_; }
  std::size_t size() const { return parts_.size; }
  std::size_t dim() const { return parts_.dim; }
  std::size_t memory_bytes() const;
  /// True for a node that has no walk in any head yet: it came after the heads were computed.
  bool is_raw(std::uint32_t node) const { return !raw_.empty() && raw_[node] != 0; }
  bool has_raw() const { return !raw_.empty(); }

  /// Attention weights of base node `node` over `columns` (its window), by the states of head
  /// `head`. O(columns out_dim).
  std::vector<float> attention_weights(std::size_t head, std::uint32_t node,
                                       std::span<const std::uint32_t> columns) const;

 private:
  explicit RefinementModel(RefinementParts parts);
  RefinementParts parts_;
  std::vector<std::uint8_t> raw_;  // one a node where there is any
};

}  // namespace halo::gnn
