#include "halo/integration/train_metrics.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo {
namespace {

constexpr std::size_t kSpectrumSample = 20000;
constexpr std::size_t kSpectralRank = 256;
constexpr std::size_t kPcaRank = 128;
constexpr std::uint64_t kSeedStep = 0x9e3779b97f4a7c15ULL;  // restarts draw other batches

}  // namespace

std::vector<TrainView> train_views(const MatrixView& vectors, const Executor& executor) {
  const gnn::Spectrum spectrum = gnn::covariance_spectrum(vectors, kSpectrumSample, executor);
  std::vector<TrainView> views;
  views.push_back({"spectral", gnn::spectral_projection(spectrum, kSpectralRank)});
  Matrix leading = Matrix::padded(std::min(kPcaRank, vectors.cols), vectors.cols);
  for (std::size_t r = 0; r < leading.rows(); ++r) {
    std::copy_n(spectrum.eigenvectors.row(r), leading.cols(), leading.row(r));
  }
  views.push_back({"pca", gnn::Projection(spectrum.mean, std::move(leading))});
  // A view without a basis (constant data) would make W as large as the vectors.
  std::erase_if(views, [](const TrainView& view) { return view.projection.basis().rows == 0; });
  if (views.empty()) throw Error(ErrorCode::kEmpty, "the vectors do not differ: nothing to learn");
  return views;
}

std::vector<MetricKind> metric_kinds(const std::vector<TrainView>& views) {
  std::vector<MetricKind> kinds;
  for (std::size_t v = 0; v < views.size(); ++v) {
    kinds.push_back({views[v].name, v, false, false});
    // Once: it undoes the views' difference in scale.
    if (v == 0) kinds.push_back({"whitening", v, true, false});
  }
  if (views.size() > 1) {
    std::string name = views.front().name;
    for (std::size_t v = 1; v < views.size(); ++v) name += " + " + views[v].name;
    kinds.push_back({name, 0, false, true});
  }
  return kinds;
}

Matrix apply(const gnn::Projection& projection, const MatrixView& rows, const Executor& executor) {
  Matrix out = Matrix::padded(rows.rows, projection.out_dim());
  projection.apply(rows, out, executor);
  return out;
}

TrainedMetric learn_metric(const MetricKind& kind, const TrainView& view, const MatrixView& rows,
                           std::span<const gnn::Example> examples,
                           const gnn::MetricOptions& options, const gnn::ValidateMetric& validate,
                           const RestartCheckpoints& checkpoints, const Executor& executor,
                           const Job& job) {
  const Matrix in_view = apply(view.projection, rows, executor);
  TrainedMetric trained;
  Matrix weights;
  float scale = options.initial_scale;
  if (kind.whitening) {
    weights = gnn::within_group_whitening(in_view, examples, {}, executor);
  } else {
    weights = Matrix(in_view.cols(), in_view.cols());
    double log_scale = 0, steps = 0;
    const float share = 1.0F / static_cast<float>(options.restarts);
    gnn::MetricOptions run = options;
    for (std::size_t restart = 0; restart < options.restarts; ++restart) {
      run.seed = options.seed ^ (restart * kSeedStep);
      const gnn::LearnedMetric metric =
          gnn::train_metric(in_view, examples, run, executor, job, validate, checkpoints(restart));
      for (std::size_t i = 0; i < weights.rows(); ++i) {
        kernels::axpy(share, metric.weights.row(i), weights.row(i), weights.cols());
      }
      log_scale += std::log(static_cast<double>(metric.scale));
      steps += static_cast<double>(metric.best_step);
    }
    const auto restarts = static_cast<double>(options.restarts);
    scale = static_cast<float>(std::exp(log_scale / restarts));
    trained.steps = static_cast<std::size_t>(std::lround(steps / restarts));
  }
  trained.projection = {kind.name, gnn::compose(weights, view.projection, executor), scale, nullptr,
                        0};
  return trained;
}

// A metric's share of the cosine is its rows' mean square before they are scaled to unit length.
TrainedMetric join_metrics(const std::string& name, std::span<const TrainedMetric* const> metrics,
                           const MatrixView& rows, const Executor& executor) {
  const std::vector<float>& mean = metrics.front()->projection.projection.mean();
  std::size_t rank = 0;
  for (const TrainedMetric* metric : metrics) rank += metric->projection.projection.out_dim();
  Matrix centred = Matrix::padded(rows.rows, rows.cols), basis = Matrix::padded(rank, rows.cols);
  for (std::size_t i = 0; i < rows.rows; ++i) {
    for (std::size_t d = 0; d < rows.cols; ++d) centred.row(i)[d] = rows.row(i)[d] - mean[d];
  }
  TrainedMetric joint;
  float scale = 0;
  std::size_t at = 0;
  for (const TrainedMetric* metric : metrics) {
    const MatrixView own = metric->projection.projection.basis();
    Matrix projected(rows.rows, own.rows);
    kernels::gemm_nt(centred, own, projected, executor);
    double squares = 0;
    for (std::size_t i = 0; i < rows.rows; ++i) {
      squares += kernels::dot(projected.row(i), projected.row(i), own.rows);
    }
    const double root =
        std::sqrt(squares / static_cast<double>(std::max<std::size_t>(1, rows.rows)));
    for (std::size_t r = 0; r < own.rows; ++r) {
      std::copy_n(own.row(r), own.cols, basis.row(at));
      kernels::scale(root > 0 ? static_cast<float>(1.0 / root) : 1.0F, basis.row(at++), own.cols);
    }
    scale += metric->projection.scale / static_cast<float>(metrics.size());
    joint.steps = std::max(joint.steps, metric->steps);
  }
  joint.projection = {name, gnn::Projection(mean, std::move(basis)), scale, nullptr, 0};
  return joint;
}

}  // namespace halo
