#include "halo/gnn/train/train_metric.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/gnn/train/example_groups.h"
#include "halo/gnn/train/info_nce.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;

Matrix identity(std::size_t r) {
  Matrix weights(r, r);
  for (std::size_t i = 0; i < r; ++i) weights.row(i)[i] = 1.0F;
  return weights;
}

}  // namespace

void MetricOptions::validate() const {
  const auto check = [](bool holds, const char* what) {
    if (!holds) throw Error(ErrorCode::kInvalidArgument, std::string("metric options: ") + what);
  };
  check(steps >= 1, "steps must be at least 1");
  check(batch >= 4, "batch must be at least 4");
  check(rate > 0 && std::isfinite(rate), "rate must be above 0");
  check(penalty >= 0 && std::isfinite(penalty), "penalty must not be negative");
  check(initial_scale > 0 && std::isfinite(initial_scale), "initial_scale must be above 0");
  check(check_every >= 1, "check_every must be at least 1");
  check(restarts >= 1, "restarts must be at least 1");
}

MetricGradient metric_gradient(const MatrixView& rows, std::span<const std::uint32_t> groups,
                               const MatrixView& weights, float log_scale, float penalty,
                               const MatrixSpan& d_weights, const Executor& executor) {
  const std::size_t n = rows.rows, r = weights.rows;
  Matrix z(n, r), d_z(n, r);
  std::vector<float> lengths(n);
  kernels::gemm_nt(rows, weights, z, executor);
  for (std::size_t i = 0; i < n; ++i) lengths[i] = kernels::normalise(z.row(i), r);
  const InfoNce nce = supervised_info_nce(z, groups, log_scale, d_z, executor);
  // Through the normalisation: d_u = (d_z - z <z, d_z>) / |u|.
  executor.parallel_for(n, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      kernels::axpy(-kernels::dot(z.row(i), d_z.row(i), r), z.row(i), d_z.row(i), r);
      kernels::scale(lengths[i] > 0 ? 1.0F / lengths[i] : 0.0F, d_z.row(i), r);
    }
  });
  kernels::gemm_tn(d_z, rows, d_weights, executor);
  double square = 0;
  const float slope = 2.0F * penalty / static_cast<float>(r);
  for (std::size_t i = 0; i < r; ++i) {
    for (std::size_t j = 0; j < r; ++j) {
      const float difference = weights.row(i)[j] - (i == j ? 1.0F : 0.0F);
      square += static_cast<double>(difference) * difference;
      d_weights.row(i)[j] += slope * difference;
    }
  }
  return {nce.loss + penalty * square / static_cast<double>(r), nce.d_log_scale};
}

LearnedMetric train_metric(const MatrixView& view, std::span<const Example> examples,
                           const MetricOptions& options, const Executor& executor, const Job& job,
                           const ValidateMetric& validate, const Checkpointing& checkpointing) {
  options.validate();
  const ExampleGroups groups(examples, view.rows);
  const std::size_t r = view.cols;
  Matrix weights = identity(r), log_scale(1, 1);
  log_scale.row(0)[0] = std::log(options.initial_scale);
  const std::vector<MatrixSpan> parameters = {weights, log_scale};
  std::vector<std::uint32_t> batch_groups;
  const auto step = [&](std::uint64_t number, std::span<const MatrixSpan> gradients) {
    Random random(options.seed, number);
    const auto batch = groups.draw(options.batch, random);
    Matrix rows(batch.size(), r);
    batch_groups.clear();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::copy_n(view.row(batch[i].row), r, rows.row(i));
      batch_groups.push_back(batch[i].group);
    }
    const MetricGradient result = metric_gradient(rows, batch_groups, weights, log_scale.row(0)[0],
                                                  options.penalty, gradients[0], executor);
    gradients[1].row(0)[0] = static_cast<float>(result.d_log_scale);
    return result.loss;
  };
  std::function<double()> check;
  if (validate) check = [&] { return validate(weights); };
  LoopOptions loop;
  loop.steps = options.steps;
  loop.check_every = options.check_every;
  loop.rate = options.rate;
  LoopState state =
      run_training_loop("learning the metric", parameters, loop, step, check, checkpointing, job);
  LearnedMetric learned;
  learned.weights = std::move(weights);
  learned.scale = std::exp(log_scale.row(0)[0]);
  learned.best_step = static_cast<std::size_t>(state.best_step);
  learned.losses = std::move(state.losses);
  return learned;
}

Projection compose(const MatrixView& weights, const Projection& view, const Executor& executor) {
  const MatrixView basis = view.basis();
  if (weights.cols != view.out_dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "metric: the view has another dimension");
  }
  if (basis.rows == 0) return {view.mean(), Matrix::copy_of(weights)};
  Matrix product = Matrix::padded(weights.rows, view.in_dim());
  kernels::gemm(weights, basis, product, executor);
  return {view.mean(), std::move(product)};
}

}  // namespace halo::gnn
