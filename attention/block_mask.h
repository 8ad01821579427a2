// Masks made of square blocks: which blocks of keys each block of queries attends to. Inside a
// block attention is dense, so tiles of the flash kernel fit; "hierarchical flash" chooses the
// blocks from an HNSW graph's layers.
//
// Node numbers must mean something (a snapshot's locality order), or every block holds a few nodes
// of everything. Thread-safety: read-only after construction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo::attention {

class BlockMask {
 public:
  /// Over a sequence of n: block i holds positions [i block_size, (i + 1) block_size), cut to n.
  /// Row i of `blocks` names the blocks that block i attends to. Throws kInvalidArgument for a
  /// block_size of 0, kDimensionMismatch unless `blocks` is square with ceil(n / block_size) rows.
  BlockMask(std::size_t n, std::size_t block_size, CsrMask blocks);

  /// The blocks in which the n x n `mask` has an entry: its closure, which attends to all that the
  /// mask attends to and more. Throws kDimensionMismatch where it is not square. O(entries).
  static BlockMask covering(const CsrView& mask, std::size_t block_size);

  /// Hierarchical flash: a block attends to itself, to the `band` blocks on each side of it, and to
  /// every block that holds a node of one of `layers` (the upper layers of an HNSW graph: choose
  /// those with fewer nodes than there are blocks). Throws kInvalidArgument for a node >= n.
  /// O(blocks (band + blocks named) + nodes log nodes).
  static BlockMask from_layers(std::size_t n, std::size_t block_size, std::size_t band,
                               const std::vector<std::vector<std::uint32_t>>& layers);

  std::size_t n() const { return n_; }
  std::size_t block_size() const { return block_size_; }
  const CsrMask& blocks() const { return blocks_; }
  /// Pairs of positions that attend.
  std::uint64_t entries() const;
  /// entries / n^2; 0 for an empty sequence.
  double density() const;
  /// The same mask by positions. Throws kInvalidArgument above `max_entries`. O(entries).
  CsrMask to_csr(std::uint64_t max_entries = std::uint64_t{1} << 26) const;

 private:
  std::size_t size_of(std::size_t block) const;

  std::size_t n_, block_size_;
  CsrMask blocks_;
};

}  // namespace halo::attention
