#include "halo/index/neighbour_windows.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/metric_distance.h"

namespace halo {
namespace {

struct Scratch {
  detail::VisitedMarks seen;
  std::vector<Node> nodes;
  std::vector<std::pair<float, Node>> nearest;
};

// The nodes of one and two hops from `node`, each once.
void gather(const GraphSnapshot& snapshot, Node node, Scratch& scratch) {
  scratch.seen.start(snapshot.size());
  scratch.seen.visit(node);
  scratch.nodes.clear();
  const auto one_hop = snapshot.neighbours(node, 0);
  for (const Node next : one_hop) {
    if (scratch.seen.visit(next)) scratch.nodes.push_back(next);
  }
  for (const Node middle : one_hop) {
    for (const Node next : snapshot.neighbours(middle, 0)) {
      if (scratch.seen.visit(next)) scratch.nodes.push_back(next);
    }
  }
}

}  // namespace

CsrMask neighbour_windows(const GraphSnapshot& snapshot, std::size_t window,
                          const Executor& executor, const Job& job) {
  if (window == 0) throw Error(ErrorCode::kInvalidArgument, "window is 0, not at least 1");
  const std::size_t n = snapshot.size();
  const MatrixView vectors = snapshot.vectors();
  const detail::MetricDistance distance(snapshot.metric(), vectors.stride);
  std::vector<Scratch> scratches(executor.threads());
  // One list a chunk, put together in order afterwards: the same bytes at any thread count.
  constexpr std::size_t kGrain = 256;
  struct Chunk {
    std::vector<std::uint32_t> lengths;
    std::vector<Node> columns;
  };
  std::vector<Chunk> chunks((n + kGrain - 1) / kGrain);
  const Stage stage(job, "neighbour windows", n);
  executor.parallel_for_workers(
      n, kGrain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job.check();
        Scratch& scratch = scratches[worker];
        Chunk& chunk = chunks[begin / kGrain];
        chunk.lengths.reserve(end - begin);
        for (std::size_t i = begin; i < end; ++i) {
          gather(snapshot, static_cast<Node>(i), scratch);
          auto& nearest = scratch.nearest;
          nearest.clear();
          const float* own = vectors.row(i);
          for (std::size_t c = 0; c < scratch.nodes.size(); ++c) {
            constexpr std::size_t kAhead = 2;
            if (c + kAhead < scratch.nodes.size()) {
              detail::prefetch_vector(vectors.row(scratch.nodes[c + kAhead]), vectors.stride);
            }
            const Node node = scratch.nodes[c];
            nearest.emplace_back(distance(own, vectors.row(node)), node);
          }
          const std::size_t kept = std::min(window, nearest.size());
          if (kept < nearest.size()) {
            std::nth_element(nearest.begin(), nearest.begin() + static_cast<std::ptrdiff_t>(kept),
                             nearest.end());
          }
          const auto at = static_cast<std::ptrdiff_t>(chunk.columns.size());
          for (std::size_t c = 0; c < kept; ++c) chunk.columns.push_back(nearest[c].second);
          std::sort(chunk.columns.begin() + at, chunk.columns.end());
          chunk.lengths.push_back(static_cast<std::uint32_t>(kept));
        }
        job.advance(end - begin);
      });
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(n + 1);
  std::vector<std::uint32_t> columns;
  std::size_t total = 0;
  for (const Chunk& chunk : chunks) total += chunk.columns.size();
  columns.reserve(total);
  for (Chunk& chunk : chunks) {
    for (const std::uint32_t length : chunk.lengths) offsets.push_back(offsets.back() + length);
    columns.insert(columns.end(), chunk.columns.begin(), chunk.columns.end());
    chunk = {};
  }
  return {std::move(offsets), std::move(columns), n};
}

}  // namespace halo
