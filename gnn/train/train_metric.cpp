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
#include "halo/gnn/train/adam.h"
#include "halo/gnn/train/info_nce.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;
constexpr std::size_t kPatience = 3;  // checks without gain

Matrix identity(std::size_t r) {
  Matrix weights(r, r);
  for (std::size_t i = 0; i < r; ++i) weights.row(i)[i] = 1.0F;
  return weights;
}

// Rows of the groups that have at least two, and each such row's group.
struct Groups {
  std::vector<Example> anchors;
  std::vector<std::vector<std::uint32_t>> members;
};

Groups usable_groups(std::span<const Example> examples, std::size_t rows) {
  Groups groups;
  for (const Example& example : examples) {
    if (example.row >= rows) {
      throw Error(
          ErrorCode::kInvalidArgument,
          "metric: example of row " + std::to_string(example.row) + " of " + std::to_string(rows));
    }
    if (example.group >= groups.members.size()) groups.members.resize(example.group + 1);
    groups.members[example.group].push_back(example.row);
  }
  for (const Example& example : examples) {
    if (groups.members[example.group].size() > 1) groups.anchors.push_back(example);
  }
  if (groups.anchors.empty()) {
    throw Error(ErrorCode::kEmpty, "metric: no label or query has two examples to learn from");
  }
  return groups;
}

// Pairs of one group, each row once.
std::vector<Example> draw_batch(const Groups& groups, std::size_t batch, Random& random) {
  std::vector<Example> drawn;
  for (std::size_t pair = 0; pair < batch / 2; ++pair) {
    const Example anchor = groups.anchors[random.below(groups.anchors.size())];
    const auto& members = groups.members[anchor.group];
    drawn.push_back(anchor);
    drawn.push_back({members[random.below(members.size())], anchor.group});
  }
  std::sort(drawn.begin(), drawn.end(), [](const Example& a, const Example& b) {
    return a.row != b.row ? a.row < b.row : a.group < b.group;
  });
  drawn.erase(std::unique(drawn.begin(), drawn.end(),
                          [](const Example& a, const Example& b) { return a.row == b.row; }),
              drawn.end());
  return drawn;
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
                           const ValidateMetric& validate) {
  options.validate();
  const Groups groups = usable_groups(examples, view.rows);
  const std::size_t r = view.cols;
  Matrix weights = identity(r), gradient(r, r);
  Matrix log_scale(1, 1), d_log_scale(1, 1);
  log_scale.row(0)[0] = std::log(options.initial_scale);
  const std::vector<MatrixSpan> parameters = {weights, log_scale};
  const std::vector<MatrixView> gradients = {gradient, d_log_scale};
  Adam adam;
  LearnedMetric learned;
  double best = 0;
  std::size_t checks_without_gain = 0;
  const auto keep = [&](std::size_t step) {
    learned.weights = Matrix::copy_of(weights);
    learned.scale = std::exp(log_scale.row(0)[0]);
    learned.best_step = step;
  };
  if (validate) {
    best = validate(weights);
    keep(0);
  }
  const Stage stage(job, "learning the metric", options.steps);
  std::vector<std::uint32_t> batch_groups;
  for (std::size_t step = 0; step < options.steps && checks_without_gain < kPatience; ++step) {
    job.check();
    Random random(options.seed, step);
    const auto batch = draw_batch(groups, options.batch, random);
    Matrix rows(batch.size(), r);
    batch_groups.clear();
    for (std::size_t i = 0; i < batch.size(); ++i) {
      std::copy_n(view.row(batch[i].row), r, rows.row(i));
      batch_groups.push_back(batch[i].group);
    }
    const MetricGradient result = metric_gradient(rows, batch_groups, weights, log_scale.row(0)[0],
                                                  options.penalty, gradient.span(), executor);
    d_log_scale.row(0)[0] = static_cast<float>(result.d_log_scale);
    learned.losses.push_back(result.loss);
    adam.step(parameters, gradients, cosine_decay(options.rate, step, options.steps));
    job.advance(1);
    const std::size_t done = step + 1;
    if (!validate || (done % options.check_every != 0 && done != options.steps)) continue;
    const double score = validate(weights);
    if (score > best) {
      best = score;
      checks_without_gain = 0;
      keep(done);
    } else {
      ++checks_without_gain;
    }
  }
  if (!validate) keep(learned.losses.size());
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
