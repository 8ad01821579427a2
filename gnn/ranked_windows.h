// Attention windows as one head sees them: the nearest of a node's wide window of graph neighbours
// by the head's own cosine, nearest first.
//
// The graph is searched once, in the space of the vectors; every head re-selects from what was
// found there.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

/// Row i: the `counts[i]` nearest of node i, nearest first (equal similarities: lower node first).
struct RankedWindows {
  std::size_t width = 0;  ///< entries from one row to the next
  std::vector<std::uint32_t> nodes;
  std::vector<float> similarities;
  std::vector<std::uint32_t> counts;

  std::size_t size() const { return counts.size(); }
  /// The first up to `most` of row i.
  std::span<const std::uint32_t> row(std::size_t i, std::size_t most = SIZE_MAX) const;
  std::span<const float> row_similarities(std::size_t i, std::size_t most = SIZE_MAX) const;
};

/// The `width` of each row of `wide` [n, n] with the greatest <x_i, x_j>, x [n, d] of unit rows.
/// O(entries (d + log width)).
RankedWindows rank_windows(const MatrixView& x, const CsrView& wide, std::size_t width,
                           const Executor& executor);

/// The first `most` of the same windows as a mask, columns ascending; where `kept` [size, width] is
/// not empty, those of them that it flags.
CsrMask mask_of(const RankedWindows& windows, std::size_t most = SIZE_MAX,
                std::span<const std::uint8_t> kept = {});

/// Share of the windows' own edges that end inside the window they start from, over at most
/// `sample` evenly spaced nodes and the first `most` of each window: how far the neighbour of a
/// neighbour is a neighbour. 0 without edges. O(sample most^2).
double transitivity(const RankedWindows& windows, std::size_t most, std::size_t sample,
                    const Executor& executor);

}  // namespace halo::gnn
