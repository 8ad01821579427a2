// A mask's edges by column: what a backward pass over a graph walks, so that no two threads add to
// one row.
//
// Thread-safety: a value, read-only once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo::kernels {

/// Edges [offsets[j], offsets[j + 1]) lead to column j and come from rows[x] (ascending).
///
/// What a pass by rows leaves of every edge for the pass by columns is kept slab by slab of kSlab
/// rows, within a slab by column and then by row: the second pass then reads every slab in
/// sequence, and the first one writes in no order only within a slab. Edge x is kept at places[x];
/// entry e of the mask, of row i, in_slab[e] behind its slab's first, row_offsets[slab_of(i)].
struct TransposedEdges {
  static constexpr std::size_t kSlab = 32;
  static constexpr std::size_t slab_of(std::size_t row) { return row / kSlab * kSlab; }

  std::vector<std::uint64_t> offsets, places;
  std::vector<std::uint32_t> rows, in_slab;
};
TransposedEdges transposed_edges(const CsrView& mask);  ///< O(entries + columns)

}  // namespace halo::kernels
