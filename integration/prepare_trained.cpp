#include <algorithm>
#include <cstring>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/index_identity.h"
#include "halo/integration/train.h"

namespace halo {
namespace {

constexpr std::size_t kWindow = 32;
constexpr std::size_t kLayers = 2;
constexpr std::size_t kEdgeWindow = 20;  // neighbours that classes spread over
constexpr float kEdgeSharpness = 2.0F;
constexpr std::size_t kRounds = 20;         // of propagation
constexpr float kCentroidSharpness = 2.0F;  // times the learned scale
constexpr std::size_t kBuildEf = 100;
constexpr std::size_t kRowsAtOnce = 256;
constexpr float kNeighbourShare = 0.5F;

Matrix project(const GraphSnapshot& snapshot, const gnn::Projection& projection, bool unit,
               const Executor& executor) {
  Matrix z = Matrix::padded(snapshot.size(), projection.out_dim());
  executor.parallel_for(snapshot.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    Matrix rows(end - begin, snapshot.dim());
    for (std::size_t i = begin; i < end; ++i) {
      std::copy_n(snapshot.vector(static_cast<Node>(i)).data(), snapshot.dim(),
                  rows.row(i - begin));
      if (unit) kernels::normalise(rows.row(i - begin), snapshot.dim());
    }
    projection.apply(rows, z.span().sub_rows(begin, end - begin), Executor(1));
  });
  return z;
}

// The nearest of every node in the learned space, by an index of that space.
CsrMask learned_windows(const Matrix& z, const Executor& executor, const Job& job) {
  BuildOptions options;
  options.metric = Metric::kL2;  // of unit rows: ordered as their cosines
  options.ef_construction = kBuildEf;
  options.deterministic = true;
  VectorIndex index(z.cols(), options);
  index.add(z, executor, job);
  const auto snapshot = index.seal(executor, job);
  const CsrMask found = neighbour_windows(*snapshot, kWindow, executor, job);
  std::vector<std::vector<std::uint32_t>> rows(z.rows());
  for (std::size_t i = 0; i < found.rows(); ++i) {
    auto& row = rows[static_cast<std::size_t>(snapshot->id(static_cast<Node>(i)))];
    for (const Node j : found.row(i)) row.push_back(static_cast<std::uint32_t>(snapshot->id(j)));
  }
  return CsrMask::from_rows(std::move(rows), z.rows());
}

// Rows of the mask, nearest first, with their cosines.
struct Ordered {
  std::vector<std::uint32_t> nodes;
  std::vector<float> cosines;
};
Ordered nearest_first(const Matrix& z, const CsrMask& mask, const Executor& executor) {
  Ordered ordered{std::vector<std::uint32_t>(z.rows() * kWindow, gnn::kNoNode),
                  std::vector<float>(z.rows() * kWindow, 0.0F)};
  executor.parallel_for(z.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<float, std::uint32_t>> row;
    for (std::size_t i = begin; i < end; ++i) {
      row.clear();
      for (const std::uint32_t j : mask.row(i)) {
        row.emplace_back(-kernels::dot(z.row(i), z.row(j), z.cols()), j);
      }
      std::sort(row.begin(), row.end());
      for (std::size_t e = 0; e < row.size(); ++e) {
        ordered.nodes[i * kWindow + e] = row[e].second;
        ordered.cosines[i * kWindow + e] = -row[e].first;
      }
    }
  });
  return ordered;
}

void add_classes(const Matrix& z, std::span<const std::uint32_t> labels, std::size_t num_classes,
                 const Ordered& windows, gnn::TrainedParts& parts, const Executor& executor,
                 const Job& job) {
  parts.centroids = Matrix::padded(num_classes, z.cols());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] != gnn::kNoClass) {
      kernels::axpy(1.0F, z.row(i), parts.centroids.row(labels[i]), z.cols());
    }
  }
  for (std::size_t c = 0; c < num_classes; ++c) {
    kernels::normalise(parts.centroids.row(c), z.cols());
  }
  // Each class's member nearest to its centroid: the first of equals.
  std::vector<float> best(num_classes, -2.0F);
  parts.entries.assign(num_classes, 0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == gnn::kNoClass) continue;
    const float cosine = kernels::dot(z.row(i), parts.centroids.row(labels[i]), z.cols());
    if (cosine > best[labels[i]]) {
      best[labels[i]] = cosine;
      parts.entries[labels[i]] = static_cast<std::uint32_t>(i);
    }
  }
  const auto edges = gnn::attention_edges(windows.nodes, windows.cosines, kWindow, kEdgeWindow,
                                          kEdgeSharpness, executor);
  const float sharpness = kCentroidSharpness * parts.scale;
  parts.posteriors = gnn::propagate_labels(
      labels, num_classes, edges, kRounds,
      [&](std::size_t begin, std::size_t end, const MatrixSpan& out) {
        kernels::gemm_nt(z.view().sub_rows(begin, end - begin), parts.centroids, out, Executor(1));
        for (std::size_t i = 0; i < out.rows; ++i) kernels::scale(sharpness, out.row(i), out.cols);
      },
      executor, job);
}

}  // namespace

std::shared_ptr<const gnn::TrainedModel> prepare_trained(const GraphSnapshot& snapshot,
                                                         LearnedProjection learned,
                                                         std::span<const std::uint32_t> labels,
                                                         std::size_t num_classes,
                                                         const Executor& executor, const Job& job) {
  if (learned.projection.in_dim() != snapshot.dim()) {
    throw Error(ErrorCode::kModelMismatch, "the model projects vectors of dimension " +
                                               std::to_string(learned.projection.in_dim()) +
                                               ", the index has " + std::to_string(snapshot.dim()));
  }
  if (num_classes > 0 && labels.size() != snapshot.size()) {
    throw Error(ErrorCode::kInvalidArgument, "one label a vector is needed");
  }
  gnn::TrainedParts parts;
  parts.index = identity_of(snapshot);
  parts.size = snapshot.size();
  parts.dim = snapshot.dim();
  parts.unit_input = snapshot.metric() != Metric::kL2;
  parts.view = std::move(learned.view);
  parts.projection = std::move(learned.projection);
  parts.scale = learned.scale;
  parts.window = kWindow;
  parts.layer.neighbour_share = kNeighbourShare;
  Matrix z = project(snapshot, parts.projection, parts.unit_input, executor);
  job.check();
  const CsrMask mask = learned_windows(z, executor, job);
  Ordered windows = nearest_first(z, mask, executor);
  if (num_classes > 0) add_classes(z, labels, num_classes, windows, parts, executor, job);
  parts.windows = std::move(windows.nodes);
  gnn::run_content_layers(
      std::move(z), mask, [](std::size_t) { return std::span<const std::uint32_t>(); }, kLayers,
      parts.layer,
      [&](std::size_t, const MatrixView& state) {
        parts.states.push_back(HalfMatrix::rounded(state));
      },
      executor, Job{nullptr, job.stop});
  return gnn::TrainedModel::create(std::move(parts));
}

}  // namespace halo
