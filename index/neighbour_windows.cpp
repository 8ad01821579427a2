#include "halo/index/neighbour_windows.h"

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/query_walk.h"

namespace halo {
namespace {

struct Scratch {
  detail::WalkScratch walk;
  detail::QueryMemory query;
};

// Leaves `node`'s window, ascending, in `nearest`.
void select(const GraphSnapshot& snapshot, Node node, std::size_t window, Scratch& scratch,
            std::vector<Node>& nearest) {
  const detail::RowScorer score = detail::node_scorer(snapshot, node, scratch.query);
  detail::walk_layer(score, snapshot.size(), node, window + 1,
                     detail::layer0_rows(snapshot.parts().layers[0]), scratch.walk);
  nearest.clear();
  for (std::size_t i = 0; i < scratch.walk.pool.size(); ++i) {
    const Node found = scratch.walk.pool.node(i);
    if (found != node && nearest.size() < window) nearest.push_back(found);
  }
  std::sort(nearest.begin(), nearest.end());
}

void check_window(std::size_t window) {
  if (window == 0) throw Error(ErrorCode::kInvalidArgument, "window is 0, not at least 1");
}

void check_node(const GraphSnapshot& snapshot, Node node) {
  if (node < snapshot.size()) return;
  throw Error(ErrorCode::kUnknownId,
              "node " + std::to_string(node) + " of " + std::to_string(snapshot.size()));
}

// The rows of `count` nodes, the r-th of which is node_of(r).
template <class NodeOf>
CsrMask windows_of(const GraphSnapshot& snapshot, std::size_t window, std::size_t count,
                   const NodeOf& node_of, const Executor& executor, const Job& job) try {
  std::vector<Scratch> scratches(executor.threads());
  // One list a chunk, put together in order afterwards: the same bytes at any thread count.
  constexpr std::size_t kGrain = 256;
  struct Chunk {
    std::vector<std::uint32_t> lengths;
    std::vector<Node> columns;
  };
  std::vector<Chunk> chunks((count + kGrain - 1) / kGrain);
  const Stage stage(job, "neighbour windows", count);
  executor.parallel_for_workers(
      count, kGrain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job.check();
        Chunk& chunk = chunks[begin / kGrain];
        chunk.lengths.reserve(end - begin);
        std::vector<Node> nearest;
        for (std::size_t i = begin; i < end; ++i) {
          select(snapshot, node_of(i), window, scratches[worker], nearest);
          chunk.columns.insert(chunk.columns.end(), nearest.begin(), nearest.end());
          chunk.lengths.push_back(static_cast<std::uint32_t>(nearest.size()));
        }
        job.advance(end - begin);
      });
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(count + 1);
  std::vector<std::uint32_t> columns;
  std::size_t total = 0;
  for (const Chunk& chunk : chunks) total += chunk.columns.size();
  columns.reserve(total);
  for (Chunk& chunk : chunks) {
    for (const std::uint32_t length : chunk.lengths) offsets.push_back(offsets.back() + length);
    columns.insert(columns.end(), chunk.columns.begin(), chunk.columns.end());
    chunk = {};
  }
  return {std::move(offsets), std::move(columns), snapshot.size()};
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for windows"; });
}

}  // namespace

std::vector<Node> neighbour_window(const GraphSnapshot& snapshot, Node node,
                                   std::size_t window) try {
  check_window(window);
  check_node(snapshot, node);
  Scratch scratch;
  std::vector<Node> nearest;
  select(snapshot, node, window, scratch, nearest);
  return nearest;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a window"; });
}

CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          const Executor& executor, const Job& job) {
  check_window(window);
  return windows_of(
      snapshot, window, snapshot.size(), [](std::size_t i) { return static_cast<Node>(i); },
      executor, job);
}

CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          std::span<const Node> nodes, const Executor& executor, const Job& job) {
  check_window(window);
  for (const Node node : nodes) check_node(snapshot, node);
  return windows_of(
      snapshot, window, nodes.size(), [&](std::size_t i) { return nodes[i]; }, executor, job);
}

}  // namespace halo
