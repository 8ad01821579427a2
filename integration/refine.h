// Prepares refinement for an index: joins the index's graph with the GNN's heads.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <memory>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/prepare_heads.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// The model of `snapshot`: attention windows re-selected from the graph, global nodes from its
/// upper layers, the heads, and the base's coherence from the windows of up to 2,000 of its own
/// vectors. Without `plans` the heads are chosen without labels (gnn/prepare_heads.h). With at
/// least 50 `sample_queries` [q, dim] the harm gate is measured on them and kept for batches too
/// small to measure it on.
std::shared_ptr<const gnn::RefinementModel> prepare_refinement(
    const GraphSnapshot& snapshot, const gnn::RefineOptions& options, const Executor& executor,
    const Job& job = {}, const MatrixView& sample_queries = {},
    std::span<const gnn::HeadPlan> plans = {});

/// What prepare_refinement() takes at most beside the snapshot, the model that comes out of it
/// included: what RefineOptions::memory_limit is compared with. For label-free heads.
std::size_t estimate_refinement(const GraphSnapshot& snapshot, const gnn::RefineOptions& options);

/// Throws kDimensionMismatch, kNonFinite or kZeroVector, naming the row, where a query cannot be
/// answered.
void validate_queries(const GraphSnapshot& snapshot, const MatrixView& queries);

/// The nodes that GNN layer `gnn_layer` takes as global: those of levels >= max(l*, top -
/// gnn_layer), l* the lowest level of at most 256 nodes. So each GNN layer reaches one HNSW layer
/// further down, until l*.
std::span<const Node> global_nodes(const GraphSnapshot& snapshot, std::size_t gnn_layer);

}  // namespace halo
