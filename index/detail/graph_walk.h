// The best-first walk over one layer of links that search and repair share: hnswlib's
// searchBaseLayerST, with a sorted pool for its two heaps.
//
// A pool entry beyond the `ef` nearest can never be expanded (the walk ends before), so one sorted
// array of `ef` candidates with a cursor is the same walk with less to move.
//
// Thread-safety: one scratch a thread. Private to the index room.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/graph_snapshot.h"

namespace halo::detail {

struct Candidate {
  float distance;
  Node node;
  bool expanded;
  bool operator<(const Candidate& other) const {
    return distance < other.distance || (distance == other.distance && node < other.node);
  }
};

/// Marks that are all cleared by counting up; the memory is wiped once in 65,535 walks.
class VisitedMarks {
 public:
  void start(std::size_t size) {
    if (marks_.size() < size) marks_.resize(size, 0);
    if (++epoch_ == 0) {
      std::fill(marks_.begin(), marks_.end(), std::uint16_t{0});
      epoch_ = 1;
    }
  }
  /// True the first time in a walk.
  bool visit(Node node) {
    if (marks_[node] == epoch_) return false;
    marks_[node] = epoch_;
    return true;
  }

 private:
  std::vector<std::uint16_t> marks_;
  std::uint16_t epoch_ = 0;
};

struct WalkScratch {
  VisitedMarks visited;
  std::vector<Candidate> pool;      // the nearest seen, ascending
  std::vector<Candidate> frontier;  // a heap, nearest on top: filtered walks only
  std::vector<Node> fresh;          // the unvisited neighbours of the node being expanded
  std::size_t visited_count = 0;    // distances computed by the last walk
};

inline void prefetch_vector(const float* vector, std::size_t width) {
  // The first lines; the hardware follows a stream from there.
  const std::size_t floats = std::min<std::size_t>(width, 128);
  for (std::size_t f = 0; f < floats; f += 16) __builtin_prefetch(vector + f);
}

/// Inserts into the ascending `pool`, keeping at most `ef`; returns the place.
inline std::size_t insert_into_pool(std::vector<Candidate>& pool, std::size_t ef,
                                    const Candidate& candidate) {
  const auto at = std::upper_bound(pool.begin(), pool.end(), candidate);
  const auto place = static_cast<std::size_t>(at - pool.begin());
  if (pool.size() == ef) pool.pop_back();
  pool.insert(pool.begin() + static_cast<std::ptrdiff_t>(place), candidate);
  return place;
}

/// Calls visit(node, distance) for every neighbour of `node` not visited in this walk.
template <class RowOf, class Visit>
void expand(const MatrixView& vectors, const MetricDistance& distance, const float* query,
            Node node, const RowOf& row_of, WalkScratch& scratch, const Visit& visit) {
  auto& fresh = scratch.fresh;
  fresh.clear();
  for (const Node next : row_of(node)) {
    if (scratch.visited.visit(next)) fresh.push_back(next);
  }
  scratch.visited_count += fresh.size();
  constexpr std::size_t kAhead = 2;
  for (std::size_t i = 0; i < std::min(kAhead, fresh.size()); ++i) {
    prefetch_vector(vectors.row(fresh[i]), distance.width);
  }
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    if (i + kAhead < fresh.size()) {
      prefetch_vector(vectors.row(fresh[i + kAhead]), distance.width);
    }
    visit(fresh[i], distance(query, vectors.row(fresh[i])));
  }
}

/// Leaves the up to `ef` nearest nodes found in scratch.pool, nearest first. `row_of(node)` gives a
/// node's links. `query` has distance.width floats. Never empty: `entry` is among what is looked
/// at.
template <class RowOf>
void walk_layer(const MatrixView& vectors, const MetricDistance& distance, const float* query,
                Node entry, std::size_t ef, const RowOf& row_of, WalkScratch& scratch) {
  auto& pool = scratch.pool;
  pool.clear();
  pool.reserve(ef);
  scratch.visited.start(vectors.rows);
  scratch.visited.visit(entry);
  scratch.visited_count = 1;
  pool.push_back({distance(query, vectors.row(entry)), entry, false});
  // Entries before the cursor are expanded.
  for (std::size_t cursor = 0; cursor < pool.size();) {
    if (pool[cursor].expanded) {
      ++cursor;
      continue;
    }
    pool[cursor].expanded = true;
    std::size_t lowest = cursor + 1;
    expand(vectors, distance, query, pool[cursor].node, row_of, scratch, [&](Node next, float d) {
      if (pool.size() == ef && !(d < pool.back().distance)) return;
      lowest = std::min(lowest, insert_into_pool(pool, ef, {d, next, false}));
    });
    cursor = lowest;
  }
}

/// As walk_layer, but only allowed nodes enter the pool; the others are walked through. Goes on
/// until `ef` allowed ones are found and the frontier is farther than all of them, or is empty.
template <class RowOf, class Allows>
void walk_layer_filtered(const MatrixView& vectors, const MetricDistance& distance,
                         const float* query, Node entry, std::size_t ef, const RowOf& row_of,
                         const Allows& allows, WalkScratch& scratch) {
  const auto farther = [](const Candidate& a, const Candidate& b) { return b < a; };
  auto& pool = scratch.pool;
  auto& frontier = scratch.frontier;
  pool.clear();
  pool.reserve(ef);
  frontier.clear();
  const auto take = [&](Node node, float d) {
    if (pool.size() == ef && !(d < pool.back().distance)) return;
    frontier.push_back({d, node, false});
    std::push_heap(frontier.begin(), frontier.end(), farther);
    if (allows(node)) insert_into_pool(pool, ef, {d, node, false});
  };
  scratch.visited.start(vectors.rows);
  scratch.visited.visit(entry);
  scratch.visited_count = 1;
  take(entry, distance(query, vectors.row(entry)));
  while (!frontier.empty()) {
    const Candidate nearest = frontier.front();
    if (pool.size() == ef && nearest.distance > pool.back().distance) break;
    std::pop_heap(frontier.begin(), frontier.end(), farther);
    frontier.pop_back();
    expand(vectors, distance, query, nearest.node, row_of, scratch, take);
  }
}

}  // namespace halo::detail
