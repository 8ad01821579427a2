// Masks made from an HNSW graph: from its layers, from its links, and from both with a window.
//
// The graph arrives as spans and CsrViews, so this room needs no index. Nodes and edges outside
// [0, n) are refused with kInvalidArgument, not ignored.
//
// Thread-safety: pure functions; a LayerMask is immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo::attention {

/// The most entries LayerMask::to_csr writes out unless told otherwise: 2^26, 256 MB of columns.
inline constexpr std::uint64_t kMaxLayerMaskEntries = std::uint64_t{1} << 26;

/// "Every node attends to all nodes of its layers and of the layers above", without storing it:
/// over layer 0 that is all n^2 pairs. Rows whose node first appears in the same layer share one
/// list, so the memory is O(n + nodes listed in all layers) for the nested layers of an HNSW graph.
///
/// Invariants: row(i) is ascending and unique; a node in no layer has an empty row.
class LayerMask {
 public:
  std::size_t rows() const { return list_of_node_.size(); }
  std::size_t num_columns() const { return list_of_node_.size(); }
  std::span<const std::uint32_t> row(std::size_t i) const { return lists_[list_of_node_[i]]; }
  /// Rows that share a list have the same row().
  std::size_t num_lists() const { return lists_.size(); }
  std::span<const std::uint32_t> list(std::size_t l) const { return lists_[l]; }
  std::size_t list_of(std::size_t i) const { return list_of_node_[i]; }
  /// How many entries the mask would store as CSR: up to n^2. O(1).
  std::uint64_t entries() const { return entries_; }

  /// The stored form. Throws kInvalidArgument above `max_entries`. O(entries).
  CsrMask to_csr(std::uint64_t max_entries = kMaxLayerMaskEntries) const;

 private:
  friend class HnswMask;
  std::vector<std::vector<std::uint32_t>> lists_;  // one a layer, and an empty one at the end
  std::vector<std::uint32_t> list_of_node_;
  std::uint64_t entries_ = 0;
};

class HnswMask {
 public:
  HnswMask() = delete;
  using Edge = std::pair<std::uint32_t, std::uint32_t>;

  /// layers[l] names the nodes of layer l, in any order. Node i attends to the nodes of its lowest
  /// layer and of every layer above it, itself included. Give the layers from 1 upwards for a mask
  /// that is worth storing. O(layers n log n).
  static LayerMask from_layers(std::size_t n,
                               std::span<const std::span<const std::uint32_t>> layers);
  static LayerMask from_layers(std::size_t n,
                               const std::vector<std::vector<std::uint32_t>>& layers);

  /// One entry for each (from, to), and its reverse where `bidirectional`, as in the notes.
  /// O(edges log(longest row)).
  static CsrMask from_edges(std::size_t n, std::span<const Edge> edges, bool bidirectional = true);
  /// The union of `links`, which must be square, and its transpose. Throws kDimensionMismatch.
  /// O(entries).
  static CsrMask from_edges(const CsrView& links);

  /// The links and a position window: SparseMask::local_window united with from_edges. Positions
  /// mean something only where node numbers do (a snapshot's locality order). O(n window + edges).
  static CsrMask adaptive(std::size_t n, std::size_t window, std::span<const Edge> edges);
  static CsrMask adaptive(std::size_t window, const CsrView& links);
};

}  // namespace halo::attention
