// The best-first walk over one layer of links that search, building, windows and repair share:
// hnswlib's searchBaseLayerST, with a sorted pool for its two heaps and a node's neighbours scored
// at once.
//
// `Score` is a RowScorer; `Rows` gives a node's links: `rows(node)` a span of nodes below
// `size`, and `rows.prefetch(node)` asks for them ahead of time.
//
// Thread-safety: one scratch a thread. Private to the index room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/index/detail/candidate_pool.h"
#include "halo/index/detail/visited_set.h"
#include "halo/index/graph_snapshot.h"

namespace halo::detail {

struct WalkScratch {
  VisitedSet visited;
  CandidatePool pool;                  // the nearest seen, ascending
  std::vector<CandidateKey> frontier;  // a heap, nearest on top: filtered walks only
  std::vector<float> distances;        // of the new neighbours of the node being expanded
};

/// The links of one layer of CSR rows.
struct CsrRows {
  const std::uint64_t* offsets;
  const Node* neighbours;
  std::span<const Node> operator()(Node node) const {
    return {neighbours + offsets[node], neighbours + offsets[node + 1]};
  }
  void prefetch(Node node) const {
    const Node* row = neighbours + offsets[node];
    __builtin_prefetch(row);
    __builtin_prefetch(row + 16);
  }
};

/// The links of a snapshot's layer 0.
inline CsrRows layer0_rows(const LayerLinks& layer0) {
  return {layer0.row_offsets.data(), layer0.neighbours.data()};
}

/// The neighbours of `node` that the walk had not seen, with their distances.
struct Scored {
  std::span<const Node> nodes;
  const float* distances;
};
template <class Score, class Rows>
Scored score_neighbours(const Score& score, const Rows& rows, Node node, WalkScratch& scratch) {
  const std::span<const Node> fresh = scratch.visited.visit(rows(node));
  if (scratch.distances.size() < fresh.size()) scratch.distances.resize(2 * fresh.size());
  score(fresh.data(), fresh.size(), scratch.distances.data());
  return {fresh, scratch.distances.data()};
}

template <class Score>
float start_walk(const Score& score, std::size_t size, Node entry, std::size_t ef,
                 WalkScratch& scratch) {
  scratch.pool.reset(ef);
  scratch.visited.start(size);
  scratch.visited.visit(std::span(&entry, 1));
  return score.one(entry);
}

/// Leaves the up to `ef` nearest nodes found in scratch.pool, nearest first. Never empty: `entry`
/// is among what is looked at.
template <class Score, class Rows>
void walk_layer(const Score& score, std::size_t size, Node entry, std::size_t ef, const Rows& rows,
                WalkScratch& scratch) {
  CandidatePool& pool = scratch.pool;
  pool.offer(start_walk(score, size, entry, ef, scratch), entry);
  // Entries before the cursor are expanded.
  for (std::size_t cursor = 0; cursor < pool.size();) {
    const Node node = pool.expand(cursor);
    std::size_t lowest = pool.next_unexpanded(cursor + 1);
    // What comes next, unless something nearer turns up.
    if (lowest < pool.size()) rows.prefetch(pool.node(lowest));
    const auto [fresh, distances] = score_neighbours(score, rows, node, scratch);
    for (std::size_t i = 0; i < fresh.size(); ++i) {
      lowest = std::min(lowest, pool.offer(distances[i], fresh[i]));
    }
    cursor = pool.next_unexpanded(lowest);
  }
}

/// As walk_layer, but only allowed nodes enter the pool; the others are walked through. Goes on
/// until `ef` allowed ones are found and the frontier is farther than all of them, or is empty.
template <class Score, class Rows, class Allows>
void walk_layer_filtered(const Score& score, std::size_t size, Node entry, std::size_t ef,
                         const Rows& rows, const Allows& allows, WalkScratch& scratch) {
  CandidatePool& pool = scratch.pool;
  auto& frontier = scratch.frontier;
  frontier.clear();
  const auto take = [&](Node node, float distance) {
    const CandidateKey key = candidate_key(distance, node);
    if (pool.full() && key > pool.last()) return;
    frontier.push_back(key);
    std::push_heap(frontier.begin(), frontier.end(), std::greater<>());
    if (allows(node)) pool.offer(distance, node);
  };
  const float first = start_walk(score, size, entry, ef, scratch);
  take(entry, first);
  while (!frontier.empty()) {
    const CandidateKey nearest = frontier.front();
    if (pool.full() && nearest > pool.last()) break;
    std::pop_heap(frontier.begin(), frontier.end(), std::greater<>());
    frontier.pop_back();
    const auto [fresh, distances] = score_neighbours(score, rows, node_of(nearest), scratch);
    for (std::size_t i = 0; i < fresh.size(); ++i) take(fresh[i], distances[i]);
  }
}

}  // namespace halo::detail
