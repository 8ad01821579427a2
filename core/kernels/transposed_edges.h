// A mask's edges by column: what a backward pass over a graph walks, so that no two threads add to
// one row.
//
// Thread-safety: a value, read-only once made.
#pragma once

#include <cstdint>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo::kernels {

/// Edges [offsets[j], offsets[j + 1]) lead to column j, come from rows[e] (ascending) and are entry
/// edges[e] of the mask.
struct TransposedEdges {
  std::vector<std::uint64_t> offsets, edges;
  std::vector<std::uint32_t> rows;
};
TransposedEdges transposed_edges(const CsrView& mask);  ///< O(entries + columns)

}  // namespace halo::kernels
