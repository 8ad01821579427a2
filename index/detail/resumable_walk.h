// The best-first walk whose memory goes on: after widen(ef) it has made exactly the steps of one
// walk with that ef, and may be widened again. Pages and radii are built on it.
//
// Thread-safety: a walk belongs to one thread. Private to the index room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <vector>

#include "halo/index/detail/candidate_pool.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/row_scorer.h"
#include "halo/index/detail/visited_set.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {

class ResumableWalk {
 public:
  /// Begins at `entry`, a node of `size`. Only what `filter` allows is found; the rest is walked
  /// through.
  void begin(const RowScorer& score, std::size_t size, Node entry, const Filter& filter) {
    frontier_.clear();
    near_.clear();
    far_.clear();
    visited_.start(size);
    prepare(1);
    take(score, visited_.visit(std::span(&entry, 1)), filter, 1);
  }

  /// Walks until the `ef` nearest allowed nodes that were not taken are nearer than every node not
  /// yet expanded. Where no link leads on before that, every node that is left is looked at. Where
  /// memory runs out, a step is not taken, and the next call takes it.
  void widen(const RowScorer& score, const CsrRows& rows, std::size_t size, std::size_t ef,
             const Filter& filter) {
    while (near_.size() < ef && !far_.empty()) {
      make_room(near_, 1);
      push(near_, std::less<>(), pop(far_, std::greater<>()));
    }
    for (;;) {
      if (frontier_.empty()) {
        if (visited_.count() == size) return;
        take_unvisited(score, size, filter, ef);
        continue;
      }
      if (near_.size() >= ef && near_.front() < frontier_.front()) return;
      const std::span<const Node> links = rows(node_of(frontier_.front()));
      prepare(links.size());
      pop(frontier_, std::greater<>());
      take(score, visited_.visit(links), filter, ef);
    }
  }

  /// How many widen() found.
  std::size_t found() const { return near_.size(); }
  /// Takes out what widen() found, ascending: take as many as are wanted from the front and give
  /// the others back.
  std::vector<CandidateKey>& sorted_near() {
    std::sort(near_.begin(), near_.end());
    return near_;
  }
  /// What is left of sorted_near() is to be found again.
  void give_back() { std::make_heap(near_.begin(), near_.end()); }

 private:
  template <class Order>
  static void push(std::vector<CandidateKey>& heap, Order order, CandidateKey key) {
    heap.push_back(key);
    std::push_heap(heap.begin(), heap.end(), order);
  }
  template <class Order>
  static CandidateKey pop(std::vector<CandidateKey>& heap, Order order) {
    std::pop_heap(heap.begin(), heap.end(), order);
    const CandidateKey key = heap.back();
    heap.pop_back();
    return key;
  }

  static void make_room(std::vector<CandidateKey>& keys, std::size_t more) {
    if (keys.capacity() - keys.size() < more) {
      keys.reserve(std::max(keys.size() + more, 2 * keys.capacity()));
    }
  }

  // All memory that a step over `count` nodes can need: once they are marked as visited, nothing
  // may fail.
  void prepare(std::size_t count) {
    visited_.make_room(count);
    if (distances_.size() < count) distances_.resize(2 * count);
    for (auto* keys : {&frontier_, &near_, &far_}) make_room(*keys, count + 1);
  }

  void take(const RowScorer& score, std::span<const Node> nodes, const Filter& filter,
            std::size_t ef) {
    score(nodes.data(), nodes.size(), distances_.data());
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      const CandidateKey key = candidate_key(distances_[i], nodes[i]);
      push(frontier_, std::greater<>(), key);
      if (!filter.empty() && !filter.allows(nodes[i])) continue;
      push(near_, std::less<>(), key);
      if (near_.size() > ef) push(far_, std::greater<>(), pop(near_, std::less<>()));
    }
  }

  void take_unvisited(const RowScorer& score, std::size_t size, const Filter& filter,
                      std::size_t ef) {
    std::vector<Node> all(size);
    std::iota(all.begin(), all.end(), Node{0});
    prepare(size);
    take(score, visited_.visit(all), filter, ef);
  }

  VisitedSet visited_;
  std::vector<CandidateKey> frontier_;  // not yet expanded: a heap, nearest on top
  std::vector<CandidateKey> near_;      // the up to ef nearest allowed: a heap, farthest on top
  std::vector<CandidateKey> far_;       // the other allowed ones: a heap, nearest on top
  std::vector<float> distances_;
};

}  // namespace halo::detail
