#include "halo/index/range_search.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/query_walk.h"
#include "halo/index/detail/scan.h"
#include "halo/index/search_cursor.h"

namespace halo {
namespace {

const GraphSnapshot& not_null(const std::shared_ptr<const GraphSnapshot>& snapshot) {
  if (!snapshot) throw Error(ErrorCode::kInvalidArgument, "a range search without a snapshot");
  return *snapshot;
}

}  // namespace

void RangeOptions::validate(const GraphSnapshot& snapshot) const {
  if (std::isnan(radius)) throw Error(ErrorCode::kInvalidArgument, "the radius is NaN");
  if (ef == 0) throw Error(ErrorCode::kInvalidArgument, "ef is 0, not at least 1");
  filter.validate(snapshot.size());
}

std::vector<Neighbour> range_search(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                    std::span<const float> query, const RangeOptions& options) try {
  options.validate(not_null(snapshot));
  SearchCursor cursor(snapshot, query, {1, options.ef, options.filter});
  std::vector<Neighbour> results, page(std::max<std::size_t>(16, options.ef / 2));
  for (;;) {
    const std::size_t found = cursor.next(page);
    std::size_t within = 0;
    for (std::size_t i = 0; i < found; ++i) {
      if (!(page[i].distance <= options.radius)) continue;
      results.push_back(page[i]);
      ++within;
    }
    // The walk is ef candidates ahead of the page: one that leaves the radius in its midst is the
    // last.
    if (within < page.size()) break;
  }
  std::sort(results.begin(), results.end(), detail::nearer);
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

std::vector<Neighbour> exact_range_search(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                          std::span<const float> query,
                                          const RangeOptions& options) try {
  options.validate(not_null(snapshot));
  detail::check_dimension(*snapshot, query.size());
  detail::QueryMemory memory;
  const detail::RowScorer score = detail::prepare_query(*snapshot, query, true, memory).exact;
  std::vector<Neighbour> results;
  for (Node node = 0; node < snapshot->size(); ++node) {
    if (!options.filter.allows(node)) continue;
    const float d = score.one(node);
    if (d <= options.radius) results.push_back({d, node});
  }
  std::sort(results.begin(), results.end(), detail::nearer);
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

RangeResults range_search_batch(const std::shared_ptr<const GraphSnapshot>& snapshot,
                                const MatrixView& queries, const RangeOptions& options,
                                const Executor& executor, const Job& job) try {
  options.validate(not_null(snapshot));
  detail::check_queries(*snapshot, queries, executor);
  std::vector<std::vector<Neighbour>> each(queries.rows);
  const Stage stage(job, "range search", queries.rows);
  executor.parallel_for(queries.rows, 4, [&](std::size_t begin, std::size_t end) {
    job.check();
    for (std::size_t q = begin; q < end; ++q) {
      each[q] = range_search(snapshot, queries.row_span(q), options);
    }
    job.advance(end - begin);
  });
  RangeResults results;
  results.offsets.assign(1, 0);
  for (const auto& some : each) {
    results.neighbours.insert(results.neighbours.end(), some.begin(), some.end());
    results.offsets.push_back(results.neighbours.size());
  }
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

}  // namespace halo
