#include "halo/index/detail/scan.h"

#include <algorithm>
#include <array>
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

std::size_t scan_nearest(const RowScorer& score, const GraphSnapshot& snapshot,
                         const SearchOptions& options, std::vector<Neighbour>& heap,
                         std::span<Neighbour> out) {
  constexpr std::size_t kAtOnce = 256;
  std::array<Node, kAtOnce> nodes{};
  std::array<float, kAtOnce> distances{};
  heap.clear();
  for (std::size_t next = 0; next < snapshot.size();) {
    std::size_t count = 0;
    for (; count < kAtOnce && next < snapshot.size(); ++next) {
      const auto node = static_cast<Node>(next);
      if (options.filter.allows(node)) nodes[count++] = node;
    }
    score(nodes.data(), count, distances.data());
    for (std::size_t i = 0; i < count; ++i) offer(heap, options.k, {distances[i], nodes[i]});
  }
  std::sort_heap(heap.begin(), heap.end(), nearer);
  return copy_results(heap, options.k, out);
}

}  // namespace halo::detail
