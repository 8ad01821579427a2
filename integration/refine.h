// Prepares refinement for an index: joins the index's graph with the GNN's content heads.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <memory>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// The label-free model of `snapshot`: attention windows re-selected from the graph, global nodes
/// from its upper layers, the content heads, and the base's reciprocity from up to 1,000 of its own
/// vectors searched as queries.
std::shared_ptr<const gnn::RefinementModel> prepare_refinement(const GraphSnapshot& snapshot,
                                                               const gnn::RefineOptions& options,
                                                               const Executor& executor,
                                                               const Job& job = {});

/// The nodes that GNN layer `gnn_layer` takes as global: those of levels >= max(l*, top -
/// gnn_layer), l* the lowest level of at most 256 nodes. So each GNN layer reaches one HNSW layer
/// further down, until l*.
std::span<const Node> global_nodes(const GraphSnapshot& snapshot, std::size_t gnn_layer);

}  // namespace halo
