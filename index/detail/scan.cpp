#include "halo/index/detail/scan.h"

#include <algorithm>
#include <string>

#include "halo/core/error.h"
#include "halo/index/detail/metric_distance.h"

namespace halo::detail {

void check_dimension(const GraphSnapshot& snapshot, std::size_t floats) {
  if (floats != snapshot.dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "a query of " + std::to_string(floats) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(snapshot.dim()));
  }
}

void check_output(const SearchOptions& options, std::size_t places) {
  if (places < options.k) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "room for " + std::to_string(places) + " results where k is " + std::to_string(options.k));
  }
}

void check_queries(const GraphSnapshot& snapshot, const MatrixView& queries,
                   const Executor& executor) {
  check_dimension(snapshot, queries.cols);
  if (queries.stride < queries.cols) {
    throw Error(ErrorCode::kInvalidArgument, "the stride of queries is less than their dimension");
  }
  executor.parallel_for(queries.rows, 256, [&](std::size_t begin, std::size_t end) {
    std::vector<float> copy(snapshot.dim());
    for (std::size_t q = begin; q < end; ++q) {
      store_row(snapshot.metric(), queries.row(q), queries.cols, "query", q, copy.data());
    }
  });
}

SearchResults make_results(std::size_t queries, std::size_t k) {
  SearchResults results;
  results.k = k;
  results.neighbours.assign(queries * k, Neighbour{0.0F, kNoNode});
  results.found.assign(queries, 0);
  return results;
}

std::size_t copy_results(std::span<const Neighbour> nearest, std::size_t k,
                         std::span<Neighbour> out) {
  const std::size_t count = std::min(k, nearest.size());
  std::copy_n(nearest.begin(), count, out.begin());
  return count;
}

void offer(std::vector<Neighbour>& heap, std::size_t k, const Neighbour& candidate) {
  if (heap.size() == k) {
    if (!nearer(candidate, heap.front())) return;
    std::pop_heap(heap.begin(), heap.end(), nearer);
    heap.back() = candidate;
  } else {
    heap.push_back(candidate);
  }
  std::push_heap(heap.begin(), heap.end(), nearer);
}

std::size_t scan_nearest(const GraphSnapshot& snapshot, const float* query,
                         const SearchOptions& options, std::vector<Neighbour>& heap,
                         std::span<Neighbour> out) {
  const MatrixView vectors = snapshot.vectors();
  const MetricDistance distance(snapshot.metric(), vectors.stride);
  heap.clear();
  for (Node node = 0; node < snapshot.size(); ++node) {
    if (!options.filter.allows(node)) continue;
    offer(heap, options.k, {distance(query, vectors.row(node)), node});
  }
  std::sort_heap(heap.begin(), heap.end(), nearer);
  return copy_results(heap, options.k, out);
}

}  // namespace halo::detail
