#include "halo/integration/learned_space.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/train/train_gnn.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/vector_index.h"
#include "halo/integration/index_identity.h"
#include "halo/integration/refine.h"

namespace halo {
namespace {

constexpr std::size_t kWindow = 32;
constexpr std::size_t kLayers = 2;
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
      snapshot.copy_vector(static_cast<Node>(i), {rows.row(i - begin), snapshot.dim()});
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

HalfMatrix copy_of(const HalfMatrix& from) {
  HalfMatrix copy(from.rows(), from.cols());
  for (std::size_t i = 0; i < from.rows(); ++i) std::copy_n(from.row(i), from.cols(), copy.row(i));
  return copy;
}

// Rows of the mask, nearest first, with their cosines.
void order_by_cosine(const Matrix& z, const CsrMask& mask, std::vector<std::uint32_t>& nodes,
                     std::vector<float>& cosines, const Executor& executor) {
  nodes.assign(z.rows() * kWindow, gnn::kNoNode);
  cosines.assign(z.rows() * kWindow, 0.0F);
  executor.parallel_for(z.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<float, std::uint32_t>> row;
    for (std::size_t i = begin; i < end; ++i) {
      row.clear();
      for (const std::uint32_t j : mask.row(i)) {
        row.emplace_back(-kernels::dot(z.row(i), z.row(j), z.cols()), j);
      }
      std::sort(row.begin(), row.end());
      for (std::size_t e = 0; e < row.size(); ++e) {
        nodes[i * kWindow + e] = row[e].second;
        cosines[i * kWindow + e] = -row[e].first;
      }
    }
  });
}

Matrix labelled_centroids(const Matrix& z, std::span<const std::uint32_t> labels,
                          std::size_t num_classes) {
  Matrix centroids = Matrix::padded(num_classes, z.cols());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == gnn::kNoClass) continue;
    kernels::axpy(1.0F, z.row(i), centroids.row(labels[i]), z.cols());
  }
  for (std::size_t c = 0; c < num_classes; ++c) kernels::normalise(centroids.row(c), z.cols());
  return centroids;
}

}  // namespace

void LearnedSpace::add_classes(std::span<const std::uint32_t> labels, std::size_t num_classes,
                               const LabelSpread& spread, gnn::TrainedParts& parts,
                               const Executor& executor, const Job& job) const {
  const Matrix labelled = labelled_centroids(z_, labels, num_classes);
  // Each class's member nearest to its centroid: the first of equals.
  std::vector<float> best(num_classes, -2.0F);
  parts.entries.assign(num_classes, 0);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    if (labels[i] == gnn::kNoClass) continue;
    const float cosine = kernels::dot(z_.row(i), labelled.row(labels[i]), z_.cols());
    if (cosine > best[labels[i]]) {
      best[labels[i]] = cosine;
      parts.entries[labels[i]] = static_cast<std::uint32_t>(i);
    }
  }
  parts.posteriors = posteriors(labels, num_classes, spread, executor, job);
  // Centroids of all vectors, not only of the few with labels: each counts as far as it belongs.
  parts.centroids = Matrix::padded(num_classes, z_.cols());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    for (std::size_t k = i * gnn::kClassesKept; k < (i + 1) * gnn::kClassesKept; ++k) {
      if (parts.posteriors.classes[k] == gnn::kNoClass) break;
      kernels::axpy(parts.posteriors.roots[k] * parts.posteriors.roots[k], z_.row(i),
                    parts.centroids.row(parts.posteriors.classes[k]), z_.cols());
    }
  }
  for (std::size_t c = 0; c < num_classes; ++c) {
    kernels::normalise(parts.centroids.row(c), z_.cols());
  }
}

gnn::ClassPosteriors LearnedSpace::posteriors(std::span<const std::uint32_t> labels,
                                              std::size_t num_classes, const LabelSpread& spread,
                                              const Executor& executor, const Job& job) const {
  const auto edges =
      gnn::attention_edges(windows_, cosines_, kWindow, spread.window, spread.sharpness, executor);
  const Matrix centroids = labelled_centroids(z_, labels, num_classes);
  const float sharpness = kCentroidSharpness * learned_.scale;
  gnn::PropagationOptions options;
  options.power = spread.power;
  return gnn::propagate_labels(
      labels, num_classes, edges, options,
      [&](std::size_t begin, std::size_t end, const MatrixSpan& out) {
        kernels::gemm_nt(z_.view().sub_rows(begin, end - begin), centroids, out, Executor(1));
        for (std::size_t i = 0; i < out.rows; ++i) kernels::scale(sharpness, out.row(i), out.cols);
      },
      executor, job);
}

std::size_t LearnedSpace::window() { return kWindow; }

LearnedSpace::LearnedSpace(const GraphSnapshot& snapshot, LearnedProjection learned,
                           const Executor& executor, const Job& job)
    : index_(identity_of(snapshot)),
      dim_(snapshot.dim()),
      unit_input_(snapshot.metric() != Metric::kL2),
      learned_(std::move(learned)) {
  if (learned_.projection.in_dim() != snapshot.dim()) {
    throw Error(ErrorCode::kModelMismatch, "the model projects vectors of dimension " +
                                               std::to_string(learned_.projection.in_dim()) +
                                               ", the index has " + std::to_string(snapshot.dim()));
  }
  z_ = project(snapshot, learned_.projection, unit_input_, executor);
  job.check();
  const CsrMask mask = learned_windows(z_, executor, job);
  order_by_cosine(z_, mask, windows_, cosines_, executor);
  const Job quiet{nullptr, job.stop};
  const auto keep = [&](std::size_t, const MatrixView& state) {
    states_.push_back(HalfMatrix::rounded(state));
  };
  if (!learned_.gnn) {
    gnn::ContentLayerOptions layer;
    layer.neighbour_share = kNeighbourShare;
    gnn::run_content_layers(
        Matrix::copy_of(z_), mask, [](std::size_t) { return std::span<const std::uint32_t>(); },
        kLayers, layer, keep, executor, quiet);
    return;
  }
  for (std::size_t t = 0; t < learned_.gnn->shape().layers; ++t) {
    const auto nodes = halo::global_nodes(snapshot, t);
    global_nodes_.emplace_back(nodes.begin(), nodes.end());
  }
  gnn::run_gnn(
      Matrix::copy_of(z_), learned_.gnn->model(), windows_, kWindow, learned_.gnn_window,
      [&](std::size_t t) { return std::span<const std::uint32_t>(global_nodes_[t]); }, keep,
      executor, quiet);
}

std::shared_ptr<const gnn::TrainedModel> LearnedSpace::model(std::span<const std::uint32_t> labels,
                                                             std::size_t num_classes,
                                                             const LabelSpread& spread,
                                                             const Executor& executor,
                                                             const Job& job) const {
  if (num_classes > 0 && labels.size() != z_.rows()) {
    throw Error(ErrorCode::kInvalidArgument, "one label a vector is needed");
  }
  gnn::TrainedParts parts;
  parts.index = index_;
  parts.size = z_.rows();
  parts.dim = dim_;
  parts.unit_input = unit_input_;
  parts.view = learned_.view;
  parts.projection = learned_.projection;
  parts.scale = learned_.scale;
  parts.window = kWindow;
  parts.layer.neighbour_share = kNeighbourShare;
  parts.label_window = spread.window;
  parts.gnn = learned_.gnn;
  parts.gnn_window = std::min(learned_.gnn_window, kWindow);
  parts.global_nodes = global_nodes_;
  if (num_classes > 0) add_classes(labels, num_classes, spread, parts, executor, job);
  parts.windows = windows_;
  for (const HalfMatrix& state : states_) parts.states.push_back(copy_of(state));
  return gnn::TrainedModel::create(std::move(parts));
}

std::shared_ptr<const gnn::TrainedModel> prepare_trained(
    const GraphSnapshot& snapshot, LearnedProjection learned, std::span<const std::uint32_t> labels,
    std::size_t num_classes, const Executor& executor, const Job& job, const LabelSpread& spread) {
  return LearnedSpace(snapshot, std::move(learned), executor, job)
      .model(labels, num_classes, spread, executor, job);
}

}  // namespace halo
