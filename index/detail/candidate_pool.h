// The nearest candidates of a walk, sorted, each with a mark whether it was expanded.
//
// A candidate beyond the `ef` nearest can never be expanded (the walk ends before), so one sorted
// array of `ef` entries with a cursor does what hnswlib's two heaps do, with less to move. An entry
// is one 64-bit key that orders by distance, then node: a comparison is one instruction, and the
// order does not depend on the order of insertion.
//
// Thread-safety: one pool a thread. Private to the index room.
#pragma once

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "halo/index/graph_snapshot.h"

namespace halo::detail {

/// distance | node | expanded, from the highest bit. Nodes have 31 bits.
using CandidateKey = std::uint64_t;

/// Orders by distance (no NaN; -0 before 0), then node.
inline CandidateKey candidate_key(float distance, Node node) {
  const auto bits = std::bit_cast<std::uint32_t>(distance);
  const std::uint32_t ordered = (bits >> 31U) != 0 ? ~bits : bits | 0x80000000U;
  return (CandidateKey{ordered} << 32U) | (CandidateKey{node} << 1U);
}
inline Node node_of(CandidateKey key) { return static_cast<Node>(key) >> 1U; }
inline float distance_of(CandidateKey key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32U);
  return std::bit_cast<float>((ordered >> 31U) != 0 ? ordered & 0x7fffffffU : ~ordered);
}

class CandidatePool {
 public:
  /// Empties the pool and limits it to `limit` candidates, at least 1.
  void reset(std::size_t limit) {
    if (keys_.size() < limit) keys_.resize(limit);
    limit_ = limit;
    size_ = 0;
  }
  std::size_t size() const { return size_; }
  std::size_t limit() const { return limit_; }
  bool full() const { return size_ == limit_; }
  Node node(std::size_t i) const { return node_of(keys_[i]); }
  float distance(std::size_t i) const { return distance_of(keys_[i]); }
  CandidateKey last() const { return keys_[size_ - 1]; }

  /// The place of the first candidate from `from` on that was not expanded; size() for none.
  std::size_t next_unexpanded(std::size_t from) const {
    while (from < size_ && (keys_[from] & 1U) != 0) ++from;
    return from;
  }
  Node expand(std::size_t i) {
    keys_[i] |= 1U;
    return node_of(keys_[i]);
  }

  /// Inserts a candidate that is not in the pool yet, where it is among the nearest. Returns its
  /// place, or limit() where it is not. O(limit), a few moves of whole cache lines.
  std::size_t offer(float distance, Node node) {
    const CandidateKey key = candidate_key(distance, node);
    if (size_ == limit_) {
      if (key > keys_[size_ - 1]) return limit_;
      --size_;
    }
    CandidateKey* const begin = keys_.data();
    // A branch-free lower bound.
    const CandidateKey* base = begin;
    for (std::size_t length = size_; length > 0;) {
      const std::size_t half = (length + 1) / 2;
      base += base[half - 1] < key ? half : 0;
      length -= half;
    }
    const auto place = static_cast<std::size_t>(base - begin);
    std::memmove(begin + place + 1, begin + place, (size_ - place) * sizeof(CandidateKey));
    begin[place] = key;
    ++size_;
    return place;
  }

 private:
  std::vector<CandidateKey> keys_;
  std::size_t limit_ = 0, size_ = 0;
};

}  // namespace halo::detail
