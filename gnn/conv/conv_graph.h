// A graph as the convolution layers use it: edges by row and by column, self loops added once.
//
// Row i of the mask holds the nodes that i receives from (PyG's edge_index[0] where edge_index[1]
// is i). Thread-safety: immutable.
#pragma once

#include <cstdint>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo::gnn {

class ConvGraph {
 public:
  /// Throws kInvalidArgument for a mask that is not square or breaks CsrView's invariants.
  /// O(entries).
  ConvGraph(const CsrView& mask, bool add_self_loops);

  std::size_t nodes() const { return mask_.rows(); }
  const CsrMask& mask() const { return mask_; }
  /// Row j holds the nodes that receive from j.
  const CsrMask& transposed() const { return transposed_; }
  /// The place in mask() of each entry of transposed().
  const std::vector<std::uint64_t>& edge_of() const { return edge_of_; }

 private:
  CsrMask mask_, transposed_;
  std::vector<std::uint64_t> edge_of_;
};

}  // namespace halo::gnn
