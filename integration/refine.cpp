#include "halo/integration/refine.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_content.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/snapshot_search.h"

namespace halo {
namespace {

constexpr std::size_t kMostGlobalNodes = 256;
constexpr std::size_t kReciprocitySample = 1000;
constexpr std::size_t kReciprocityEf = 400;
constexpr std::size_t kRowsAtOnce = 256;

float distance_between(const GraphSnapshot& snapshot, Node a, Node b) {
  const float *x = snapshot.vector(a).data(), *y = snapshot.vector(b).data();
  return snapshot.metric() == Metric::kL2 ? kernels::l2_squared(x, y, snapshot.dim())
                                          : 1.0F - kernels::dot(x, y, snapshot.dim());
}

// Each node's distance to the 10th nearest of its window (the furthest, where the window is
// smaller; 0 for an empty one).
std::vector<float> reach_of(const GraphSnapshot& snapshot, const CsrView& windows,
                            const Executor& executor) {
  std::vector<float> reach(snapshot.size(), 0.0F);
  executor.parallel_for(snapshot.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<float> distances;
    for (std::size_t i = begin; i < end; ++i) {
      distances.clear();
      for (const Node j : windows.row(i)) {
        distances.push_back(distance_between(snapshot, static_cast<Node>(i), j));
      }
      if (distances.empty()) continue;
      const auto tenth =
          distances.begin() +
          static_cast<std::ptrdiff_t>(std::min(gnn::kReciprocityNeighbours, distances.size())) - 1;
      std::nth_element(distances.begin(), tenth, distances.end());
      reach[i] = *tenth;
    }
  });
  return reach;
}

// Evenly spaced base vectors, searched as a query would be, themselves left out.
double base_reciprocity(const GraphSnapshot& snapshot, std::span<const float> reach,
                        const Executor& executor, const Job& job) {
  const std::size_t step = (snapshot.size() + kReciprocitySample - 1) / kReciprocitySample;
  std::vector<Node> sample;
  for (std::size_t node = 0; node < snapshot.size(); node += step) {
    sample.push_back(static_cast<Node>(node));
  }
  Matrix queries(sample.size(), snapshot.dim());
  for (std::size_t i = 0; i < sample.size(); ++i) {
    std::copy_n(snapshot.vector(sample[i]).data(), snapshot.dim(), queries.row(i));
  }
  SearchOptions options;
  options.k = std::min(gnn::kReciprocityNeighbours + 1, snapshot.size());
  options.ef = kReciprocityEf;
  const SearchResults results = search_batch(snapshot, queries, options, executor, job);
  gnn::Reciprocity reciprocity;
  for (std::size_t i = 0; i < sample.size(); ++i) {
    std::vector<Node> nodes;
    std::vector<float> distances;
    for (const Neighbour& neighbour : results.of(i)) {
      if (neighbour.node == sample[i]) continue;
      nodes.push_back(neighbour.node);
      distances.push_back(neighbour.distance);
    }
    reciprocity.add(nodes, distances, reach);
  }
  return reciprocity.value();
}

}  // namespace

std::span<const Node> global_nodes(const GraphSnapshot& snapshot, std::size_t gnn_layer) {
  const std::size_t top = snapshot.num_layers() - 1;
  std::size_t lowest = top;
  while (lowest > 0 && snapshot.layer_nodes(lowest - 1).size() <= kMostGlobalNodes) --lowest;
  return snapshot.layer_nodes(std::max(lowest, top - std::min(gnn_layer, top)));
}

std::shared_ptr<const gnn::RefinementModel> prepare_refinement(const GraphSnapshot& snapshot,
                                                               const gnn::RefineOptions& options,
                                                               const Executor& executor,
                                                               const Job& job) {
  options.validate();
  gnn::RefineOptions resolved = options;
  if (resolved.window == 0) resolved.window = std::max<std::size_t>(1, snapshot.adaptive_window());
  CsrMask windows;
  {
    const Stage stage(job, "neighbour windows", snapshot.size());
    windows = neighbour_windows(snapshot, resolved.window, executor, job);
  }
  gnn::RefinementParts parts = gnn::prepare_content(
      snapshot.vectors(), snapshot.metric() != Metric::kL2, windows,
      [&](std::size_t layer) { return global_nodes(snapshot, layer); }, resolved, executor, job);
  parts.reach = reach_of(snapshot, windows, executor);
  {
    const Stage stage(job, "reciprocity", 1);
    parts.base_reciprocity =
        base_reciprocity(snapshot, parts.reach, executor, Job{nullptr, job.stop});
    job.advance(1);
  }
  return gnn::RefinementModel::create(std::move(parts));
}

}  // namespace halo
