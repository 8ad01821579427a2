// The nearest vectors of a query page by page: each page goes on where the walk of the last one
// stopped, instead of searching anew with a larger k.
//
// Thread-safety: a cursor belongs to one thread at a time; it keeps its snapshot alive.
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo {

class SearchCursor {
 public:
  /// Of `options`, `ef` says how many candidates each page keeps beyond those already returned
  /// (raising it costs time and buys recall), and `filter` what may be returned; `k`, the page's
  /// size, is the length of next()'s output instead. Throws kInvalidArgument (no snapshot, ef = 0,
  /// filter of another size), kDimensionMismatch, kNonFinite, kZeroVector.
  SearchCursor(std::shared_ptr<const GraphSnapshot> snapshot, std::span<const float> query,
               const SearchOptions& options);
  ~SearchCursor();
  SearchCursor(SearchCursor&&) noexcept;
  SearchCursor& operator=(SearchCursor&&) noexcept;

  /// The next nearest, nearest first, into out; returns how many: out.size() until the allowed
  /// vectors are used up. No node comes twice, and pages to the end hold every allowed node. After
  /// n results the walk is that of one search with ef + n; a vector that only a later page's walk
  /// discovers comes in that page, though nearer than some before it. Throws kInvalidArgument for
  /// an empty `out`. O((ef + out.size()) log(n) M dim) on average.
  std::size_t next(std::span<Neighbour> out);
  /// Results given so far.
  std::size_t returned() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo
