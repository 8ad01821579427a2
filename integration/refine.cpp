#include "halo/integration/refine.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_heads.h"
#include "halo/index/memory_estimate.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/snapshot_search.h"
#include "halo/integration/detail/graph_distance.h"
#include "halo/integration/index_identity.h"

namespace halo {
namespace {

constexpr std::size_t kMostGlobalNodes = 256;
constexpr std::size_t kCoherenceEf = 400;
constexpr std::size_t kRowsAtOnce = 128;
// One edge more than coherence looks at: a base vector searched as a query is left out of its
// neighbours' edges.
constexpr std::size_t kStride = gnn::kCoherenceEdges + 1;

// What coherence is measured on.
struct NearestOfWindows {
  std::vector<std::uint32_t> edges;       // the kStride nearest of each node's window
  std::size_t step = 1;                   // nodes from one of the sample to the next
  std::vector<std::vector<Node>> sample;  // the nearest `window` of each of the sample's windows
};

NearestOfWindows nearest_of_windows(const GraphSnapshot& snapshot, const CsrView& windows,
                                    std::size_t window, const Executor& executor) {
  NearestOfWindows nearest;
  nearest.edges.resize(snapshot.size() * kStride);
  nearest.step = (snapshot.size() + gnn::kCoherenceSample - 1) / gnn::kCoherenceSample;
  nearest.sample.resize((snapshot.size() + nearest.step - 1) / nearest.step);
  executor.parallel_for(snapshot.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<float, Node>> order;
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = windows.row(i);
      const auto edges = std::span(nearest.edges).subspan(i * kStride, kStride);
      if (i % nearest.step != 0) {
        detail::nearest_of_window(snapshot, static_cast<Node>(i), row, edges, order);
        continue;
      }
      std::vector<Node> all(std::max(kStride, window));
      detail::nearest_of_window(snapshot, static_cast<Node>(i), row, all, order);
      std::copy_n(all.begin(), kStride, edges.begin());
      all.resize(std::min(window, row.size()));
      nearest.sample[i / nearest.step] = std::move(all);
    }
  });
  return nearest;
}

// The nearest `window` nodes of each query.
SearchResults nearest_nodes(const GraphSnapshot& snapshot, const MatrixView& queries,
                            std::size_t window, const Executor& executor, const Job& job) {
  SearchOptions options;
  options.k = std::min(window, snapshot.size());
  options.ef = kCoherenceEf;
  return search_batch(snapshot, queries, options, executor, job);
}

// Mean coherence of the windows of evenly spaced base vectors: the nearest of those that the walks
// from them found, which is what a search for them finds.
double base_coherence(const NearestOfWindows& nearest, const Executor& executor) {
  std::vector<double> coherence(nearest.sample.size());
  executor.parallel_for(coherence.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      coherence[i] = gnn::window_coherence(nearest.sample[i], nearest.edges, kStride,
                                           static_cast<Node>(i * nearest.step));
    }
  });
  return std::accumulate(coherence.begin(), coherence.end(), 0.0) /
         static_cast<double>(coherence.size());
}

// What the model keeps: one edge fewer.
std::vector<std::uint32_t> without_last_edge(std::span<const std::uint32_t> edges) {
  std::vector<std::uint32_t> kept;
  kept.reserve(edges.size() / kStride * gnn::kCoherenceEdges);
  for (std::size_t i = 0; i < edges.size(); i += kStride) {
    const auto row = edges.subspan(i, gnn::kCoherenceEdges);
    kept.insert(kept.end(), row.begin(), row.end());
  }
  return kept;
}

}  // namespace

std::span<const Node> global_nodes(const GraphSnapshot& snapshot, std::size_t gnn_layer) {
  const std::size_t top = snapshot.num_layers() - 1;
  std::size_t lowest = top;
  while (lowest > 0 && snapshot.layer_nodes(lowest - 1).size() <= kMostGlobalNodes) --lowest;
  return snapshot.layer_nodes(std::max(lowest, top - std::min(gnn_layer, top)));
}

std::size_t estimate_refinement(const GraphSnapshot& snapshot, const gnn::RefineOptions& options) {
  options.validate();
  const std::size_t n = snapshot.size(), dim = snapshot.dim();
  const auto padded = [](std::size_t floats) { return (floats + 15) / 16 * 16; };
  constexpr std::size_t kFloat = sizeof(float), kNode = sizeof(Node);
  const std::size_t window =
      options.window != 0 ? options.window : std::max<std::size_t>(1, snapshot.adaptive_window());
  const std::size_t wide = window * options.wide_windows;
  const std::size_t ranked = std::max(window, options.structure.window);
  const std::size_t rank = padded(std::min(
      dim, std::max({options.centred_rank, options.spectral_rank, options.whitened_rank})));

  // Windows, while they are put together; edges; the vectors as heads see them, the spectrum, and
  // what another head sees.
  const std::size_t shared =
      n * (2 * wide * kNode + 4 * sizeof(std::uint64_t)) + n * 2 * kStride * kNode +
      n * padded(dim) * kFloat + std::min<std::size_t>(n, 20000) * padded(dim) * kFloat +
      n * (rank * kFloat + ranked * (kNode + kFloat)) + 6 * dim * dim * sizeof(double);
  // What one head takes while it is prepared: states before and after each layer, windows in
  // similarity's order and as masks, walks between two steps.
  const std::size_t working = n * (4 * rank * kFloat + 4 * ranked * (kNode + kFloat) +
                                   4 * options.structure.breadth * (kNode + kFloat));
  const std::size_t head =
      n * (rank + options.structure.kept * (kNode + 1) + 4 * kFloat) + padded(dim) * rank * kFloat;
  return shared + working + 2 * head + (std::size_t{1} << 20U);
}

void validate_queries(const GraphSnapshot& snapshot, const MatrixView& queries) {
  if (queries.rows > 0 && queries.cols != snapshot.dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "queries have " + std::to_string(queries.cols) +
                                                   " dimensions, the index has " +
                                                   std::to_string(snapshot.dim()));
  }
  for (std::size_t q = 0; q < queries.rows; ++q) {
    try {
      validate_query(snapshot, queries.row_span(q));
    } catch (const Error& error) {
      throw Error(error.code(), "query " + std::to_string(q) + ": " + error.what());
    }
  }
}

std::shared_ptr<const gnn::RefinementModel> prepare_refinement(
    const GraphSnapshot& stored, const gnn::RefineOptions& options, const Executor& executor,
    const Job& job, const MatrixView& sample_queries, std::span<const gnn::HeadPlan> plans) {
  options.validate();
  const auto floats = stored.with_vectors_as(CodeKind::kF32);
  const GraphSnapshot& snapshot = *floats;
  validate_queries(snapshot, sample_queries);
  if (options.memory_limit != 0) {
    check_memory_limit(estimate_refinement(snapshot, options), options.memory_limit,
                       "preparing refinement");
  }
  gnn::RefineOptions resolved = options;
  if (resolved.window == 0) resolved.window = std::max<std::size_t>(1, snapshot.adaptive_window());
  const CsrMask windows =
      neighbour_windows(snapshot, resolved.window * resolved.wide_windows, executor, job);
  const auto global = [&](std::size_t layer) { return global_nodes(snapshot, layer); };
  const bool unit_input = snapshot.metric() != Metric::kL2;
  gnn::RefinementParts parts = plans.empty()
                                   ? gnn::prepare_heads(snapshot.vectors(), unit_input, windows,
                                                        global, resolved, executor, job)
                                   : gnn::prepare_heads(snapshot.vectors(), unit_input, windows,
                                                        global, resolved, plans, executor, job);
  parts.index = identity_of(snapshot);
  {
    const Stage stage(job, "coherence", 1);
    const auto nearest = nearest_of_windows(snapshot, windows, resolved.window, executor);
    parts.base_coherence = base_coherence(nearest, executor);
    parts.edges = without_last_edge(nearest.edges);
    job.advance(1);
  }
  if (sample_queries.rows >= gnn::kCoherenceQueries) {
    const SearchResults results =
        nearest_nodes(snapshot, sample_queries, resolved.window, executor, Job{nullptr, job.stop});
    double sum = 0;
    std::vector<Node> nodes;
    for (std::size_t q = 0; q < sample_queries.rows; ++q) {
      nodes.clear();
      for (const Neighbour& neighbour : results.of(q)) nodes.push_back(neighbour.node);
      sum += gnn::window_coherence(nodes, parts.edges, gnn::kCoherenceEdges);
    }
    parts.calibrated_gate =
        gnn::harm_gate(sum / static_cast<double>(sample_queries.rows), parts.base_coherence);
  }
  return gnn::RefinementModel::create(std::move(parts));
}

}  // namespace halo
