// A projection that the graph teaches: directions along which neighbours differ are shrunk.
//
// Relevant component analysis (Bar-Hillel et al. 2005) whitens with the covariance within groups
// that are known to belong together. Without labels, mutual nearest neighbours stand for them: what
// varies between them is noise to the neighbourhoods, and what is left tells them apart.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/gnn/projection.h"
#include "halo/gnn/ranked_windows.h"

namespace halo::gnn {

/// y = norm(R G S (x - mean)): S the spectral projection to at most `spectral_rank` directions, G
/// an inverse root (Cholesky's) of the covariance of S-differences over mutual edges (each node's
/// first 10 in `windows`; shrunk by 0.1 towards its mean eigenvalue), R the leading `rank`
/// principal directions of what comes out. x [n, d], windows of n nodes. The spectral projection
/// itself where the graph has no mutual edge. O(n d s + n s^2 + edges s^2 + s^3) for s =
/// spectral_rank.
Projection graph_whitened_projection(const MatrixView& x, const Spectrum& spectrum,
                                     const RankedWindows& windows, std::size_t spectral_rank,
                                     std::size_t rank, const Executor& executor);

}  // namespace halo::gnn
