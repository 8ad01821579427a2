#include "halo/index/exact_search.h"

#include <algorithm>
#include <array>
#include <new>
#include <vector>

#include "halo/core/out_of_memory.h"
#include "halo/index/detail/query_walk.h"
#include "halo/index/detail/scan.h"

namespace halo {
namespace {

// A tile of queries meets a block of vectors while both are in the cache.
constexpr std::size_t kQueryTile = 16;
constexpr std::size_t kVectorBlock = 64;

}  // namespace

std::size_t exact_search(const GraphSnapshot& snapshot, std::span<const float> query,
                         const SearchOptions& options, std::span<Neighbour> out) try {
  options.validate(snapshot);
  detail::check_dimension(snapshot, query.size());
  detail::check_output(options, out.size());
  detail::QueryMemory memory;
  const auto prepared = detail::prepare_query(snapshot, query, true, memory);
  std::vector<Neighbour> heap;
  return detail::scan_nearest(prepared.exact, snapshot, options, heap, out);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

SearchResults exact_search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                                 const SearchOptions& options, const Executor& executor,
                                 const Job& job) try {
  options.validate(snapshot);
  detail::check_queries(snapshot, queries, executor);
  SearchResults results = detail::make_results(queries.rows, options.k);
  const Stage stage(job, "exact search", queries.rows);
  executor.parallel_for(queries.rows, kQueryTile, [&](std::size_t begin, std::size_t end) {
    std::vector<detail::QueryMemory> memory(end - begin);
    std::vector<detail::RowScorer> scores;
    std::vector<std::vector<Neighbour>> heaps(end - begin);
    for (std::size_t q = begin; q < end; ++q) {
      scores.push_back(
          detail::prepare_query(snapshot, queries.row_span(q), true, memory[q - begin]).exact);
    }
    std::array<Node, kVectorBlock> nodes{};
    std::array<float, kVectorBlock> distances{};
    for (std::size_t block = 0; block < snapshot.size(); block += kVectorBlock) {
      job.check();
      const std::size_t block_end = std::min(snapshot.size(), block + kVectorBlock);
      std::size_t count = 0;
      for (std::size_t i = block; i < block_end; ++i) {
        const auto node = static_cast<Node>(i);
        if (options.filter.allows(node)) nodes[count++] = node;
      }
      for (std::size_t q = 0; q < heaps.size(); ++q) {
        scores[q](nodes.data(), count, distances.data());
        for (std::size_t i = 0; i < count; ++i) {
          detail::offer(heaps[q], options.k, {distances[i], nodes[i]});
        }
      }
    }
    for (std::size_t q = 0; q < heaps.size(); ++q) {
      std::sort_heap(heaps[q].begin(), heaps[q].end(), detail::nearer);
      const std::size_t at = (begin + q) * options.k;
      results.found[begin + q] = detail::copy_results(
          heaps[q], options.k, std::span(results.neighbours).subspan(at, options.k));
    }
    job.advance(end - begin);
  });
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

}  // namespace halo
