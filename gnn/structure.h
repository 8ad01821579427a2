// The structure part of a head: who a node's neighbours are, a few steps further along the graph.
//
// Values are the identities of nodes. With A the head's attention over its windows (entries that
// are not mutual weigh less, rows sum to 1, plus a share of the node itself), a row of A^t says
// which nodes a walk from i reaches. Two vectors belong together where their walks meet: the score
// is the cosine of the square roots of their rows (Hellinger affinity). Compare k-reciprocal
// encoding (Zhong et al. 2017) and GNN re-ranking (Zhang et al. 2020).
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/aligned_memory.h"
#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/gnn/ranked_windows.h"

namespace halo::gnn {

struct StructureOptions {
  std::size_t window = 20;    ///< neighbours that one step attends to
  float sharpness = 2.0F;     ///< p of row_adaptive_attention.h
  float one_sided = 0.3F;     ///< factor of entries whose node does not attend back
  float self_share = 0.5F;    ///< added to the diagonal: raising it shortens the walk
  std::size_t steps = 4;      ///< products with A after the first row
  std::size_t kept = 48;      ///< entries stored of each row, a multiple of 8 from 16
  std::size_t breadth = 128;  ///< entries kept between steps

  void validate() const;  ///< throws kInvalidArgument
};

/// Sparse rows of equal room: `kept` nodes with the square roots of their weights, in steps of the
/// row's largest. An entry is one number, the node above root_bits() bits of root, so that a row is
/// one piece of memory. Unused entries are 0.
class StructureRows {
 public:
  /// More vectors leave fewer than 4 bits for a root.
  static constexpr std::size_t kMostRows = std::size_t{1} << 28U;

  StructureRows() = default;
  /// Empty rows. Throws kInvalidArgument above kMostRows, kOutOfMemory.
  StructureRows(std::size_t size, std::size_t kept);

  std::size_t size() const { return size_; }
  std::size_t kept() const { return kept_; }
  /// 8 up to 16.8 million rows, fewer above.
  unsigned root_bits() const { return root_bits_; }
  std::uint32_t largest_root() const { return (std::uint32_t{1} << root_bits_) - 1; }

  std::span<std::uint32_t> row(std::size_t i) { return {entries_.get() + i * kept_, kept_}; }
  std::span<const std::uint32_t> row(std::size_t i) const {
    return {entries_.get() + i * kept_, kept_};
  }
  const std::uint32_t* data() const { return entries_.get(); }
  std::uint32_t entry(std::uint32_t node, std::uint32_t root) const {
    return node << root_bits_ | root;
  }
  std::uint32_t node_of(std::uint32_t entry) const { return entry >> root_bits_; }
  std::uint32_t root_of(std::uint32_t entry) const { return entry & largest_root(); }
  /// What an entry's squared root is multiplied by to give its share of row i; a row's shares sum
  /// to 1. 0 for an empty row. O(kept).
  float share_of_square(std::size_t i) const;
  std::size_t bytes() const { return size_ * kept_ * sizeof(std::uint32_t); }

 private:
  AlignedArray<std::uint32_t> entries_;  // [size, kept]
  std::size_t size_ = 0, kept_ = 0;
  unsigned root_bits_ = 8;
};

/// Attention of one row over the similarities of its neighbours, nearest first, times `one_sided`
/// where `mutual` says no; weights sum to 1. In place.
void structure_weights(std::span<float> similarities, std::span<const std::uint8_t> mutual,
                       const StructureOptions& options);

/// The rows of every node after options.steps steps over `windows`; where `kept` [size, width] is
/// not empty, over the entries that it flags: A is that of the whole windows, the other entries'
/// shares given to those kept. O(n steps entries breadth).
StructureRows diffuse(const RankedWindows& windows, const StructureOptions& options,
                      const Executor& executor, const Job& job = {},
                      std::span<const std::uint8_t> kept = {});

}  // namespace halo::gnn
