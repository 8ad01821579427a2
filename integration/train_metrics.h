// The metrics that training chooses among: learned or closed form, on each view of the vectors.
//
// Thread-safety: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/gnn/train/train_metric.h"
#include "halo/integration/learned_space.h"
#include "halo/integration/train_judge.h"

namespace halo {

/// A view that a metric may start at.
struct TrainView {
  std::string name;
  gnn::Projection projection;
};
/// "spectral" and "pca". Throws kEmpty where the vectors do not differ.
std::vector<TrainView> train_views(const MatrixView& vectors, const Executor& executor);

/// A kind of metric: what it is learned on, and how.
struct MetricKind {
  std::string name;  ///< "spectral", "pca", "whitening", "spectral + pca"
  std::size_t view = 0;
  bool whitening = false;  ///< closed form (within_group_whitening)
  bool joint = false;      ///< the learned metrics of all views, side by side
};
/// Joint metrics come last: they are made of the others.
std::vector<MetricKind> metric_kinds(const std::vector<TrainView>& views);

struct TrainedMetric {
  LearnedProjection projection;
  std::size_t steps = 0;  ///< where validation was best
};

/// What the checkpoint knows of each restart.
using RestartCheckpoints = std::function<gnn::Checkpointing(std::size_t restart)>;

/// Learned from `examples`, which number `rows`, as refinement sees the vectors. W is the mean over
/// options.restarts runs: all begin at I, so that their mean is a metric too, and a better one than
/// each (Wortsman et al., "Model soups", 2022).
TrainedMetric learn_metric(const MetricKind& kind, const TrainView& view, const MatrixView& rows,
                           std::span<const gnn::Example> examples,
                           const gnn::MetricOptions& options, const gnn::ValidateMetric& validate,
                           const RestartCheckpoints& checkpoints, const Executor& executor,
                           const Job& job);

/// Metrics side by side, each with the same say in the cosine of `rows` on average.
TrainedMetric join_metrics(const std::string& name, std::span<const TrainedMetric* const> metrics,
                           const MatrixView& rows, const Executor& executor);

/// Rows of `view`, [n, out_dim], of unit length.
Matrix apply(const gnn::Projection& projection, const MatrixView& rows, const Executor& executor);

}  // namespace halo
