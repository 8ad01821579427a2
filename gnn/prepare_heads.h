// Prepares the heads of a refinement model from the vectors and their graph windows alone.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <optional>
#include <span>
#include <string>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/layer_nodes.h"
#include "halo/gnn/refinement_model.h"

namespace halo::gnn {

/// A head before its states are computed.
struct HeadPlan {
  std::string name;
  float weight = 0;         ///< share of the refined score
  float content_share = 0;  ///< of the head's score; the rest is structure
  Projection projection;
  /// Where RefineOptions::entries keeps less than everything: the bars of a head that was prepared
  /// before; without them they are where these vectors' windows keep that share.
  std::optional<EntryBars> bars = std::nullopt;
};

/// The label-free choice: fills everything of the parts but edges, base_coherence and
/// calibrated_gate.
///
/// The graph-whitened head "g" tells classes apart where few directions carry the variance, and
/// only as far as its own windows are at least as transitive as the centred head's: whitening that
/// loosens the graph has amplified noise. Its weight is
/// max(0, 1 - 2 flatness) clip((ratio - 0.95) / 0.1, 0, 1), ratio of transitivities. The centred
/// head "c" has the rest; the flatter the spectrum, the more its content counts beside structure
/// (share k / (1 + k), k = 3 flatness^2). Shares below 0.05 are left out.
///
/// `wide` [n, n]: options.window x options.wide_windows graph neighbours a row.
/// O(dim^3 + n (dim rank + wide rank + layers window rank + steps window breadth)) a head.
RefinementParts prepare_heads(const MatrixView& vectors, bool unit_input, const CsrView& wide,
                              const LayerNodes& global_nodes, const RefineOptions& options,
                              const Executor& executor, const Job& job = {});

/// The same with heads of the caller's choice, whose weights should sum to 1. Throws
/// kInvalidArgument without any.
RefinementParts prepare_heads(const MatrixView& vectors, bool unit_input, const CsrView& wide,
                              const LayerNodes& global_nodes, const RefineOptions& options,
                              std::span<const HeadPlan> plans, const Executor& executor,
                              const Job& job = {});

}  // namespace halo::gnn
