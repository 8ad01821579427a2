// The exhaustive pass over all vectors, and what every kind of search does before and after.
//
// Thread-safety: pure functions. Private to the index room.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "halo/index/detail/row_scorer.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {

/// Throws kDimensionMismatch unless a query has the index's dimension.
void check_dimension(const GraphSnapshot& snapshot, std::size_t floats);
/// Throws kInvalidArgument where `places` are fewer than options.k.
void check_output(const SearchOptions& options, std::size_t places);
/// validate_query() of every row, naming the row.
void check_queries(const GraphSnapshot& snapshot, const MatrixView& queries,
                   const Executor& executor);

SearchResults make_results(std::size_t queries, std::size_t k);
/// Nearer first; equal distances: lower node first.
inline bool nearer(const Neighbour& a, const Neighbour& b) {
  return a.distance < b.distance || (a.distance == b.distance && a.node < b.node);
}

/// The first up to k of an ascending list; returns how many.
std::size_t copy_results(std::span<const Neighbour> nearest, std::size_t k,
                         std::span<Neighbour> out);

/// Offers a vector to the `k` nearest so far: a heap by nearer(), farthest on top.
void offer(std::vector<Neighbour>& heap, std::size_t k, const Neighbour& candidate);

/// The answer to a query by looking at every allowed vector with `score`, into `out`; returns how
/// many. `heap` is scratch space.
std::size_t scan_nearest(const RowScorer& score, const GraphSnapshot& snapshot,
                         const SearchOptions& options, std::vector<Neighbour>& heap,
                         std::span<Neighbour> out);

}  // namespace halo::detail
