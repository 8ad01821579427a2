// Prepares the label-free content heads from the vectors and their attention windows alone.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/refinement_model.h"

namespace halo::gnn {

/// Chooses the heads and their weights by the covariance spectrum and runs `options.layers`
/// attention layers over `windows` [n, n] for each: fills size, dim, unit_input, options, heads,
/// global_nodes, participation_ratio and flatness.
///
/// A spectrum carried by few directions (a low participation ratio) says that distances are
/// dominated by them, so the spectral head, which damps them, gets up to half of the weight; on a
/// flat spectrum only the centred head is used. O(dim^3 + n dim (rank + layers window)).
RefinementParts prepare_content(const MatrixView& vectors, bool unit_input, const CsrView& windows,
                                const LayerNodes& global_nodes, const RefineOptions& options,
                                const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
