// The nodes that a walk has seen: one bit a node, so that a hundred thousand fit in the first-level
// cache, and a list of them, by which the bits are cleared for the next walk.
//
// Thread-safety: one set a thread. Private to the index room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/index/graph_snapshot.h"

namespace halo::detail {

class VisitedSet {
 public:
  /// Forgets everything; room for nodes below `size`. O(nodes seen before).
  void start(std::size_t size) {
    for (std::size_t i = 0; i < count_; ++i) bits_[nodes_[i] / 64] = 0;
    count_ = 0;
    if (bits_.size() * 64 < size) bits_.resize((size + 63) / 64, 0);
  }
  std::size_t count() const { return count_; }

  /// Makes visiting `more` nodes need no memory.
  void make_room(std::size_t more) {
    if (nodes_.size() < count_ + more) nodes_.resize(2 * (count_ + more));
  }
  /// Visits `row`; the nodes of it that were new, in order, valid until the next call.
  std::span<const Node> visit(std::span<const Node> row) {
    make_room(row.size());
    const std::size_t begin = count_;
    for (const Node node : row) {
      std::uint64_t& word = bits_[node / 64];
      const std::uint64_t bit = std::uint64_t{1} << (node % 64);
      nodes_[count_] = node;
      count_ += (word & bit) == 0 ? 1 : 0;  // no branch: half of them are new
      word |= bit;
    }
    return {nodes_.data() + begin, count_ - begin};
  }

 private:
  std::vector<std::uint64_t> bits_;
  std::vector<Node> nodes_;
  std::size_t count_ = 0;
};

}  // namespace halo::detail
