// Exhaustive search: the oracle that approximate search is measured against.
#pragma once

#include "halo/index/snapshot_search.h"

namespace halo {

/// As search(), exactly: looks at every allowed vector. `options.ef` is not used. O(n dim + n log
/// k).
std::size_t exact_search(const GraphSnapshot& snapshot, std::span<const float> query,
                         const SearchOptions& options, std::span<Neighbour> out);

/// As search_batch(), exactly.
SearchResults exact_search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                                 const SearchOptions& options, const Executor& executor,
                                 const Job& job = {});

}  // namespace halo
