// Searches as a service makes them: a call for each query, in the order they come, so that no
// query profits from the others of its batch (search_batch() arranges that).
#pragma once

#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/index/snapshot_search.h"

namespace halo::bench {

/// As search_batch().
inline SearchResults search_one_by_one(const GraphSnapshot& snapshot, const MatrixView& queries,
                                       const SearchOptions& options, const Executor& executor) {
  SearchResults results;
  results.k = options.k;
  results.neighbours.assign(queries.rows * options.k, {0.0F, kNoNode});
  results.found.assign(queries.rows, 0);
  std::vector<SearchScratch> scratch(executor.threads());
  executor.parallel_for_workers(
      queries.rows, 8, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        for (std::size_t q = begin; q < end; ++q) {
          results.found[q] =
              search(snapshot, queries.row_span(q), options, scratch[worker],
                     std::span(results.neighbours).subspan(q * options.k, options.k));
        }
      });
  return results;
}

}  // namespace halo::bench
