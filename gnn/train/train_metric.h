// Learns the metric of a head from examples of what belongs together: a square W on top of a view,
// so that y = norm(W norm(view(x))).
//
// Thread-safety: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/projection.h"
#include "halo/gnn/train/example_groups.h"
#include "halo/gnn/train/training_loop.h"

namespace halo::gnn {

struct MetricOptions {
  std::size_t steps = 250;  ///< raising it costs time, linearly
  std::size_t batch = 256;  ///< rows a step, at least 4; raising it costs time and adds negatives
  float rate = 3e-3F;       ///< Adam's, decayed to 0 by a cosine
  float penalty = 0.1F;     ///< times |W - I|^2 / r: raising it keeps W nearer to the view
  float initial_scale = 10.0F;   ///< of the cosines in the softmax; learned from there
  std::size_t check_every = 50;  ///< steps between validations
  /// Runs over other batches, whose W are averaged (integration/train_metrics.h): raising it costs
  /// time, linearly, and takes the batches' chance out of W.
  std::size_t restarts = 4;
  std::uint64_t seed = 1;

  void validate() const;  ///< throws kInvalidArgument
};

struct LearnedMetric {
  Matrix weights;              ///< W [r, r]
  float scale = 0;             ///< learned
  std::vector<double> losses;  ///< one a step
  std::size_t best_step = 0;   ///< where validation was best; the last step without validation
};

/// How good W is on held-out examples; larger is better.
using ValidateMetric = std::function<double(const Matrix& weights)>;

/// W, by Adam on supervised InfoNCE over batches of pairs, from I. `view` [n, r]: rows of unit
/// length. With `validate`, the W of the best check is kept (the first of equals), and training
/// stops early after three checks without gain; `checkpointing` may continue an earlier run. The
/// same seed gives the same bytes at any number of threads. Throws kEmpty where no group has two
/// rows, kInvalidArgument for a row outside `view`, kCancelled. O(steps batch r (r + batch)).
LearnedMetric train_metric(const MatrixView& view, std::span<const Example> examples,
                           const MetricOptions& options, const Executor& executor,
                           const Job& job = {}, const ValidateMetric& validate = {},
                           const Checkpointing& checkpointing = {});

/// The loss of one batch and its gradient by W: what a step follows. `rows` [b, r] of unit length.
struct MetricGradient {
  double loss = 0, d_log_scale = 0;
};
MetricGradient metric_gradient(const MatrixView& rows, std::span<const std::uint32_t> groups,
                               const MatrixView& weights, float log_scale, float penalty,
                               const MatrixSpan& d_weights, const Executor& executor);

/// norm(W norm(view(x))) as one projection: W times the view's basis (or W alone on a view without
/// one).
Projection compose(const MatrixView& weights, const Projection& view, const Executor& executor);

/// W = (within-class covariance, shrunk)^-exponent on the view: directions in which members of a
/// group differ count less. Closed form, so it says something about groups it has not seen. Throws
/// kEmpty where no group has two rows. O(n r^2 + r^3).
struct WhiteningOptions {
  double exponent = 0.35;  ///< 0 leaves the view, 1/2 whitens
  double shrinkage = 0.1;  ///< share of the mean variance mixed in, above 0 to 1
};
Matrix within_group_whitening(const MatrixView& view, std::span<const Example> examples,
                              const WhiteningOptions& options, const Executor& executor);

}  // namespace halo::gnn
