#include "halo/gnn/prepare_heads.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/graph_whitening.h"
#include "halo/gnn/memory_budget.h"
#include "halo/gnn/ranked_windows.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kSpectrumSample = 20000;
constexpr std::size_t kTransitivitySample = 2000;
constexpr std::size_t kRowsAtOnce = 1024;
constexpr double kMostFlatness = 0.5;
constexpr double kLooseRatio = 0.95, kRatioSpan = 0.1;
constexpr double kContentGrowth = 3.0;
constexpr double kNegligible = 0.05;  // a share below it is not worth its memory

// Vectors as heads see them: of unit length where the index compares directions, a copy then.
struct Input {
  Input(const MatrixView& vectors, bool unit, const Executor& executor) : view(vectors) {
    if (!unit) return;
    copy = Matrix::padded(vectors.rows, vectors.cols);
    executor.parallel_for(vectors.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        std::copy_n(vectors.row(i), vectors.cols, copy.row(i));
        kernels::normalise(copy.row(i), copy.cols());
      }
    });
    view = copy.view();
  }
  Matrix copy;
  MatrixView view;
};

// How evenly the variance is spread over the dimensions that vary at all: 1 for white noise.
double flatness_of(const Spectrum& spectrum, std::size_t rows) {
  if (spectrum.participation_ratio == 0) return 1.0;
  const std::size_t limit = rows > 1 ? rows - 1 : 1;
  const auto effective =
      static_cast<double>(std::max<std::size_t>(1, std::min(spectrum.varying, limit)));
  return std::min(1.0, spectrum.participation_ratio / effective);
}

Matrix projected(const Projection& projection, const MatrixView& input, const Executor& executor) {
  Matrix x = Matrix::padded(input.rows, projection.out_dim());
  projection.apply(input, x, executor);
  return x;
}

// The similarity of a node to the state of the farthest of its window.
std::vector<std::int16_t> thresholds_of(const MatrixView& x, const MatrixView& states,
                                        const RankedWindows& windows, std::size_t most,
                                        const Executor& executor) {
  std::vector<std::int16_t> thresholds(x.rows, 0);
  executor.parallel_for(x.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      float least = 1.0F;
      for (const auto j : windows.row(i, most)) {
        least = std::min(least, kernels::dot(x.row(i), states.row(j), x.cols));
      }
      // Rounded down, so that rounding leaves nobody out.
      thresholds[i] = static_cast<std::int16_t>(
          std::floor(RefinementHead::kThresholdSteps * std::clamp(least, -1.0F, 1.0F)));
    }
  });
  return thresholds;
}

// The vectors and their windows as one head sees them.
struct HeadView {
  HeadView(const Projection& projection, const MatrixView& input, const CsrView& wide,
           const RefineOptions& options, const Executor& executor)
      : x(projected(projection, input, executor)),
        windows(
            rank_windows(x, wide, std::max(options.window, options.structure.window), executor)) {}
  Matrix x;
  RankedWindows windows;
};

RefinementHead prepare_head(const HeadPlan& plan, const HeadView& view,
                            const LayerNodes& global_nodes, const RefineOptions& options,
                            const Executor& executor, const Job& job) {
  RefinementHead head;
  head.name = plan.name;
  head.weight = plan.weight;
  head.content_share = plan.content_share;
  head.projection = plan.projection;
  const Matrix& x = view.x;
  const RankedWindows& windows = view.windows;
  job.advance(1);
  if (plan.bars) head.bars = *plan.bars;
  const auto keep = [&](std::size_t most, float& bar) -> std::vector<std::uint8_t> {
    const EntryOptions& entries = options.entries;
    if (entries.all()) return {};
    const std::vector<float> worth = entry_worth(windows, most, entries.model, executor);
    if (!plan.bars) bar = entry_bar(windows, most, worth, entries);
    return kept_entries(windows, most, worth, bar, entries, executor);
  };
  Matrix last;
  {
    const CsrMask mask = mask_of(windows, options.window, keep(options.window, head.bars.content));
    run_content_layers(
        Matrix::copy_of(x), mask, global_nodes, options.layers, options.layer,
        [&](std::size_t t, const MatrixView& state) {
          if (t == options.layers) last = Matrix::copy_of(state);
        },
        executor, job);
  }
  head.thresholds = thresholds_of(x, last, windows, options.structure.window, executor);
  head.states = ByteMatrix::quantised(last);
  head.structure = diffuse(windows, options.structure, executor, job,
                           keep(options.structure.window, head.bars.structure));
  return head;
}

std::size_t steps_of_a_head(const RefineOptions& options) {
  return 1 + options.layers + options.structure.steps;
}

RefinementParts frame(const MatrixView& vectors, bool unit_input, const LayerNodes& global_nodes,
                      const RefineOptions& options) {
  options.validate();
  RefinementParts parts;
  parts.size = vectors.rows;
  parts.dim = vectors.cols;
  parts.unit_input = unit_input;
  parts.options = options;
  const auto nodes = global_nodes(options.layers - 1);
  parts.global_nodes.assign(nodes.begin(), nodes.end());
  return parts;
}

}  // namespace

RefinementParts prepare_heads(const MatrixView& vectors, bool unit_input, const CsrView& wide,
                              const LayerNodes& global_nodes, const RefineOptions& options,
                              const Executor& executor, const Job& job) {
  RefinementParts parts = frame(vectors, unit_input, global_nodes, options);
  const Input input(vectors, unit_input, executor);
  Spectrum spectrum;
  std::vector<HeadPlan> plans;
  std::map<std::string, HeadView> views;  // of the heads that were looked at for the choice
  {
    const Stage stage(job, "spectrum", 1);
    spectrum = covariance_spectrum(input.view, kSpectrumSample, executor,
                                   std::max(options.centred_rank, options.spectral_rank));
    parts.participation_ratio = spectrum.participation_ratio;
    parts.flatness = flatness_of(spectrum, vectors.rows);
    job.check();
    const double content = kContentGrowth * parts.flatness * parts.flatness;
    const double share = content / (1.0 + content);
    plans.push_back({"c", 1.0F, share < kNegligible ? 0.0F : static_cast<float>(share),
                     leading_projection(spectrum, options.centred_rank)});
    if (parts.flatness < kMostFlatness) {
      const auto looked_at = [&](const std::string& name, const Projection& projection) {
        const auto at = views.try_emplace(name, projection, input.view, wide, options, executor);
        return std::cref(at.first->second.windows);
      };
      const auto transitive = [&](const RankedWindows& windows) {
        return transitivity(windows, options.structure.window, kTransitivitySample, executor);
      };
      const RankedWindows& centred = looked_at("c", plans[0].projection);
      Projection whitened = graph_whitened_projection(
          input.view, spectrum, centred, options.spectral_rank, options.whitened_rank, executor);
      const double base = transitive(centred);
      parts.transitivity_ratio = base > 0 ? transitive(looked_at("g", whitened)) / base : 0.0;
      const double weight =
          (1.0 - parts.flatness / kMostFlatness) *
          std::clamp((parts.transitivity_ratio - kLooseRatio) / kRatioSpan, 0.0, 1.0);
      if (weight > kNegligible) {
        plans[0].weight = static_cast<float>(1.0 - weight);
        plans.push_back({"g", static_cast<float>(weight), 0.0F, std::move(whitened)});
      }
      if (weight > 1.0 - kNegligible) {
        plans.erase(plans.begin());
        plans[0].weight = 1.0F;
      }
    }
    job.advance(1);
  }
  std::erase_if(views, [&](const auto& view) {
    return std::none_of(plans.begin(), plans.end(),
                        [&](const HeadPlan& plan) { return plan.name == view.first; });
  });
  fit_to_memory(plans, parts.options, spectrum, vectors.rows);
  const Stage stage(job, "GNN layers", plans.size() * steps_of_a_head(options));
  for (const HeadPlan& plan : plans) {
    auto known = views.extract(plan.name);
    const HeadView view = known && known.mapped().x.cols() == plan.projection.out_dim()
                              ? std::move(known.mapped())
                              : HeadView(plan.projection, input.view, wide, options, executor);
    parts.heads.push_back(prepare_head(plan, view, global_nodes, parts.options, executor, job));
  }
  return parts;
}

RefinementParts prepare_heads(const MatrixView& vectors, bool unit_input, const CsrView& wide,
                              const LayerNodes& global_nodes, const RefineOptions& options,
                              std::span<const HeadPlan> plans, const Executor& executor,
                              const Job& job) {
  if (plans.empty()) throw Error(ErrorCode::kInvalidArgument, "a model needs at least one head");
  RefinementParts parts = frame(vectors, unit_input, global_nodes, options);
  const Input input(vectors, unit_input, executor);
  const Stage stage(job, "GNN layers", plans.size() * steps_of_a_head(options));
  for (const HeadPlan& plan : plans) {
    const HeadView view(plan.projection, input.view, wide, options, executor);
    parts.heads.push_back(prepare_head(plan, view, global_nodes, options, executor, job));
  }
  return parts;
}

}  // namespace halo::gnn
