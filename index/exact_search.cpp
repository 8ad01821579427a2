#include "halo/index/exact_search.h"

#include <algorithm>
#include <new>
#include <vector>

#include "halo/core/out_of_memory.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/row_scorer.h"
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
  Matrix prepared = Matrix::padded(1, query.size());
  detail::store_vector(snapshot.metric(), query.data(), query.size(), "the query", prepared.data());
  const auto score = detail::f32_scorer(snapshot.metric(), snapshot.vectors(), prepared.data());
  std::vector<Neighbour> heap;
  return detail::scan_nearest(score, snapshot, options, heap, out);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

SearchResults exact_search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                                 const SearchOptions& options, const Executor& executor,
                                 const Job& job) try {
  options.validate(snapshot);
  detail::check_queries(snapshot, queries, executor);
  SearchResults results = detail::make_results(queries.rows, options.k);
  const MatrixView vectors = snapshot.vectors();
  const detail::MetricDistance distance(snapshot.metric(), vectors.stride);
  const Stage stage(job, "exact search", queries.rows);
  executor.parallel_for(queries.rows, kQueryTile, [&](std::size_t begin, std::size_t end) {
    Matrix tile = Matrix::padded(end - begin, queries.cols);
    std::vector<std::vector<Neighbour>> heaps(end - begin);
    for (std::size_t q = begin; q < end; ++q) {
      detail::store_row(snapshot.metric(), queries.row(q), queries.cols, "query", q,
                        tile.row(q - begin));
    }
    for (std::size_t block = 0; block < vectors.rows; block += kVectorBlock) {
      job.check();
      const std::size_t block_end = std::min(vectors.rows, block + kVectorBlock);
      for (std::size_t q = 0; q < heaps.size(); ++q) {
        for (std::size_t i = block; i < block_end; ++i) {
          const auto node = static_cast<Node>(i);
          if (!options.filter.allows(node)) continue;
          const float d = distance(tile.row(q), vectors.row(i));
          detail::offer(heaps[q], options.k, {d, node});
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
