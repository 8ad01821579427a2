#include "halo/integration/train.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/integration/train_data.h"

namespace halo {
namespace {

constexpr std::size_t kSpectrumSample = 20000;
constexpr std::size_t kSpectralRank = 256;
constexpr std::size_t kPcaRank = 128;
constexpr std::size_t kDepth = 100;  // mAP@100
constexpr std::size_t kQueriesAtOnce = 64;

// How far classes count in the score, and the plain neighbours in a query's class; the default
// first.
struct LabelUse {
  float weight, plain_share;
};
constexpr std::array<LabelUse, 6> kLabelUses = {
    {{4.0F, 0.25F}, {4.0F, 0.0F}, {4.0F, 0.6F}, {4.0F, 1.0F}, {1.0F, 0.25F}, {0.0F, 0.0F}}};
constexpr std::size_t kFewestToChoose = 100;  // held-out queries

struct View {
  std::string name;
  gnn::Projection projection;
};

// The views a metric may start at.
std::vector<View> views_of(const MatrixView& vectors, const Executor& executor) {
  const gnn::Spectrum spectrum = gnn::covariance_spectrum(vectors, kSpectrumSample, executor);
  std::vector<View> views;
  views.push_back({"spectral", gnn::spectral_projection(spectrum, kSpectralRank)});
  Matrix leading = Matrix::padded(std::min(kPcaRank, vectors.cols), vectors.cols);
  for (std::size_t r = 0; r < leading.rows(); ++r) {
    std::copy_n(spectrum.eigenvectors.row(r), leading.cols(), leading.row(r));
  }
  views.push_back({"pca", gnn::Projection(spectrum.mean, std::move(leading))});
  // A view without a basis (constant data) would make W as large as the vectors.
  std::erase_if(views, [](const View& view) { return view.projection.basis().rows == 0; });
  if (views.empty()) throw Error(ErrorCode::kEmpty, "the vectors do not differ: nothing to learn");
  return views;
}

Matrix apply(const gnn::Projection& projection, const MatrixView& rows, const Executor& executor) {
  Matrix out = Matrix::padded(rows.rows, projection.out_dim());
  projection.apply(rows, out, executor);
  return out;
}

// The held-out queries and what they are judged against, in one space.
class SpaceJudge {
 public:
  SpaceJudge(const TrainingSplit& split, const Executor& executor)
      : split_(split), executor_(executor) {}

  QualityTable quality(const MatrixView& queries, const MatrixView& pool) const {
    std::vector<Id> ids(queries.rows * kDepth, Id{-1});
    for (std::size_t begin = 0; begin < queries.rows; begin += kQueriesAtOnce) {
      const std::size_t rows = std::min(kQueriesAtOnce, queries.rows - begin);
      Matrix cosines(rows, pool.rows);
      kernels::gemm_nt(queries.sub_rows(begin, rows), pool, cosines, executor_);
      executor_.parallel_for(rows, 4, [&](std::size_t first, std::size_t last) {
        for (std::size_t i = first; i < last; ++i) {
          rank(begin + i, cosines.row_span(i),
               std::span(ids).subspan((begin + i) * kDepth, kDepth));
        }
      });
    }
    return halo::quality({ids, kDepth}, split_.relevance);
  }

 private:
  void rank(std::size_t query, std::span<const float> cosines, std::span<Id> out) const {
    std::vector<std::uint32_t> order(cosines.size());
    std::iota(order.begin(), order.end(), 0U);
    const std::size_t kept = std::min(kDepth + 1, order.size());
    std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                      [&](std::uint32_t a, std::uint32_t b) {
                        return cosines[a] != cosines[b] ? cosines[a] > cosines[b] : a < b;
                      });
    std::size_t written = 0;
    for (std::size_t i = 0; i < kept && written < out.size(); ++i) {
      const Id id = split_.pool_ids[order[i]];
      if (id != split_.self_ids[query]) out[written++] = id;
    }
  }

  const TrainingSplit& split_;
  const Executor& executor_;
};

// Searches for the held-out queries among the judged vectors, each without itself.
QualityTable judge_search(const Engine& engine, const TrainingSplit& split, RefineMode mode,
                          std::size_t candidates, const Executor& executor, const Job& job) {
  QueryOptions options;
  options.k = std::min({kDepth + 1, split.pool_ids.size(), candidates});
  options.refine = mode;
  options.candidates = std::min(candidates, split.pool_ids.size());
  options.filter = split.filter;
  const BatchResults results =
      engine.search(split.validation_queries, options, executor, Job{nullptr, job.stop});
  std::vector<Id> ids(split.validation_queries.rows() * kDepth, Id{-1});
  for (std::size_t q = 0; q < split.validation_queries.rows(); ++q) {
    std::size_t written = 0;
    for (std::size_t i = 0; i < results.k && written < kDepth; ++i) {
      const Id id = results.ids[q * results.k + i];
      if (id != split.self_ids[q]) ids[q * kDepth + written++] = id;
    }
  }
  return quality({ids, kDepth}, split.relevance);
}

// A learned metric, its projection, and how it was learned, so that it can be learned again.
struct Learned {
  std::string name, view_name;
  std::size_t view = 0;
  bool whitening = false;
  gnn::MetricOptions options;
  LearnedProjection projection;
  QualityTable quality;
};

LearnedProjection learn(const View& view, bool whitening, const MatrixView& rows,
                        std::span<const gnn::Example> examples, const gnn::MetricOptions& options,
                        const gnn::ValidateMetric& validate, std::size_t& steps,
                        const Executor& executor, const Job& job) {
  const Matrix in_view = apply(view.projection, rows, executor);
  if (whitening) {
    const Matrix weights = gnn::within_group_whitening(in_view, examples, {}, executor);
    return {"whitened " + view.name, gnn::compose(weights, view.projection, executor),
            options.initial_scale};
  }
  const gnn::LearnedMetric metric =
      gnn::train_metric(in_view, examples, options, executor, job, validate);
  steps = metric.best_step;
  return {view.name, gnn::compose(metric.weights, view.projection, executor), metric.scale};
}

std::vector<Learned> learn_candidates(const std::vector<View>& views, const TrainingSplit& split,
                                      const TrainOptions& options, const Executor& executor,
                                      const Job& job) {
  const SpaceJudge judge(split, executor);
  std::vector<Learned> candidates;
  for (std::size_t v = 0; v < views.size(); ++v) {
    for (const bool whitening : {false, true}) {
      if (whitening && v > 0) continue;  // it undoes the views' difference in scale
      Learned candidate;
      candidate.name = whitening ? "whitening" : "metric " + views[v].name;
      candidate.view = v;
      candidate.whitening = whitening;
      candidate.options = options.metric;
      if (options.epochs > 0) {
        candidate.options.steps = std::max<std::size_t>(
            1, options.epochs * split.training.size() / candidate.options.batch);
      }
      const Matrix queries = apply(views[v].projection, split.unit_queries, executor);
      const Matrix pool = apply(views[v].projection, split.pool_rows, executor);
      const auto in_space = [&](const Matrix& weights) {
        const gnn::Projection metric(std::vector<float>(weights.cols(), 0.0F),
                                     Matrix::copy_of(weights));
        return judge.quality(apply(metric, queries, executor), apply(metric, pool, executor));
      };
      std::size_t steps = candidate.options.steps;
      candidate.projection = learn(
          views[v], whitening, split.rows, split.training, candidate.options,
          [&](const Matrix& weights) { return in_space(weights).mean(Measure::kMap100); }, steps,
          executor, job);
      const gnn::Projection& learned = candidate.projection.projection;
      candidate.quality = judge.quality(apply(learned, split.unit_queries, executor),
                                        apply(learned, split.pool_rows, executor));
      candidate.options.steps = std::max<std::size_t>(1, steps);
      candidates.push_back(std::move(candidate));
    }
  }
  return candidates;
}

// The quality of the whole model on the held-out queries, with the use of its classes that gains
// most there. Few queries decide nothing (the best of several uses would be the luckiest): below
// kFewestToChoose the default stays.
QualityTable choose_label_use(const Engine& engine, const TrainingSplit& split,
                              std::size_t candidates,
                              std::shared_ptr<const gnn::TrainedModel>& model,
                              const Executor& executor, const Job& job) {
  const auto whole = model;
  const auto judge = [&](float weight, float share) {
    model = whole->with_label_use(weight, share);
    return judge_search(engine.with_trained(model), split, RefineMode::kTrained, candidates,
                        executor, job);
  };
  if (whole->parts().centroids.rows() == 0) return judge(0.0F, 0.0F);
  QualityTable best = judge(kLabelUses.front().weight, kLabelUses.front().plain_share);
  if (best.queries.size() < kFewestToChoose) return best;
  auto chosen = model;
  for (const LabelUse& use : std::span(kLabelUses).subspan(1)) {
    QualityTable quality = judge(use.weight, use.plain_share);
    if (quality.mean(Measure::kMap100) <= best.mean(Measure::kMap100)) continue;
    best = std::move(quality);
    chosen = model;
  }
  model = chosen;
  return best;
}

std::string percent_points(double share) {
  const double rounded = std::round(share * 1e4) / 100;
  std::string text = std::to_string(rounded);
  return text.substr(0, text.find('.') + 3);
}

// Accepts or refuses: the last line of the table is the trained model.
void decide(TrainReport& report) {
  const TrainCandidate& trained = report.table.back();
  const auto better = std::find_if(report.table.begin(), report.table.end(), [&](const auto& line) {
    return line.name == "auto" && line.gain->mean > trained.gain->mean;
  });
  const std::string interval =
      "[" + percent_points(trained.gain->low) + ", " + percent_points(trained.gain->high) + "]";
  if (!(trained.gain->low > 0)) {
    report.reason = "the 95% interval of its gain over plain search, " + interval +
                    " points of mAP@100, does not lie above 0";
  } else if (better != report.table.end()) {
    report.reason = "label-free refinement gains more on the held-out queries";
  } else {
    report.accepted = true;
    report.reason = "the 95% interval of its gain over plain search, " + interval +
                    " points of mAP@100, lies above 0";
  }
}

}  // namespace

void TrainOptions::validate() const {
  if (!(validation_fraction > 0 && validation_fraction <= 0.5)) {
    throw Error(ErrorCode::kInvalidArgument,
                "train options: validation_fraction must be above 0, up to 0.5");
  }
  if (candidates == 0) {
    throw Error(ErrorCode::kInvalidArgument, "train options: candidates must be at least 1");
  }
  metric.validate();
}

TrainReport train(const Engine& engine, const TrainingData& data, const TrainOptions& options,
                  const Executor& executor, const Job& job) {
  options.validate();
  const GraphSnapshot& snapshot = *engine.snapshot();
  const TrainingSplit split = split_training_data(snapshot, data, options.validation_fraction,
                                                  options.unseen_classes, options.metric.seed);
  TrainReport report;
  report.examples = split.training.size() + split.held_out.size();
  report.classes = split.num_classes;
  const auto add = [&](const std::string& name, QualityTable quality) {
    TrainCandidate line{name, std::move(quality), std::nullopt};
    if (!report.table.empty()) {
      line.gain = paired_bootstrap(report.table.front().quality.of(Measure::kMap100),
                                   line.quality.of(Measure::kMap100), options.metric.seed);
    }
    report.table.push_back(std::move(line));
  };
  const auto judge = [&](RefineMode mode) {
    return judge_search(engine, split, mode, options.candidates, executor, job);
  };
  add("off", judge(RefineMode::kOff));
  if (report.table.front().quality.queries.empty()) {
    throw Error(ErrorCode::kEmpty, "no held-out query has anything relevant to find");
  }
  if (engine.model()) add("auto", judge(RefineMode::kAuto));

  const std::vector<View> views = views_of(split.base_rows, executor);
  std::vector<Learned> candidates = learn_candidates(views, split, options, executor, job);
  for (const Learned& candidate : candidates) add(candidate.name, candidate.quality);
  const auto best = std::max_element(
      candidates.begin(), candidates.end(), [](const Learned& a, const Learned& b) {
        return a.quality.mean(Measure::kMap100) < b.quality.mean(Measure::kMap100);
      });
  report.view = best->name;
  auto model = prepare_trained(snapshot, std::move(best->projection), split.training_labels,
                               split.num_classes, executor, job);
  add("trained", choose_label_use(engine, split, options.candidates, model, executor, job));
  decide(report);
  if (!report.accepted) return report;

  // Once more, with what was held out.
  std::vector<gnn::Example> everything = split.training;
  everything.insert(everything.end(), split.held_out.begin(), split.held_out.end());
  std::size_t steps = 0;
  LearnedProjection learned = learn(views[best->view], best->whitening, split.rows, everything,
                                    best->options, {}, steps, executor, job);
  report.model = prepare_trained(snapshot, std::move(learned), split.all_labels, split.num_classes,
                                 executor, job)
                     ->with_label_use(model->label_weight(), model->plain_share());
  return report;
}

}  // namespace halo
