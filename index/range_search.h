// Every vector within a radius of a query.
//
// Thread-safety: pure functions of a snapshot.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo {

struct RangeOptions {
  /// The greatest distance, of the metric (squared under kL2), that is still a result; infinity
  /// allows all.
  float radius = 0;
  /// Candidates beyond the radius that the walk keeps before it ends, at least 1. Raising it costs
  /// time and buys recall.
  std::size_t ef = 64;
  Filter filter = {};

  /// Throws kInvalidArgument (NaN, ef = 0, filter of another size).
  void validate(const GraphSnapshot& snapshot) const;
};

/// Nodes within the radius, nearest first. Throws as validate(), kDimensionMismatch, kNonFinite,
/// kZeroVector. O((results + ef) log(n) M dim) on average.
std::vector<Neighbour> range_search(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                    std::span<const float> query, const RangeOptions& options);
/// The same by looking at every vector: the oracle. O(n dim).
std::vector<Neighbour> exact_range_search(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                          std::span<const float> query,
                                          const RangeOptions& options);

/// Many queries on the executor: results of query i are neighbours[offsets[i] .. offsets[i + 1]).
struct RangeResults {
  std::vector<std::uint64_t> offsets;
  std::vector<Neighbour> neighbours;
  std::span<const Neighbour> of(std::size_t query) const {
    return std::span(neighbours).subspan(offsets[query], offsets[query + 1] - offsets[query]);
  }
};
RangeResults range_search_batch(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                const MatrixView& queries, const RangeOptions& options,
                                const Executor& executor, const Job& job = {});

}  // namespace halo
