#include "halo/integration/train.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <numeric>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/gnn/class_mixture.h"
#include "halo/gnn/layer_norm.h"
#include "halo/integration/refine.h"
#include "halo/integration/train_checkpoint.h"
#include "halo/integration/train_data.h"
#include "halo/integration/train_fusion.h"
#include "halo/integration/train_judge.h"
#include "halo/integration/train_metrics.h"

namespace halo {
namespace {

// How far classes count in the score, and whose opinion of the query's class counts how much.
struct LabelUse {
  float weight = kDefaultLabelWeight;
  float plain_share = kDefaultPlainShare, centroid_share = kDefaultCentroidShare;
};
constexpr float kMostlyLabelledWeight = 8.0F;  // where most of the vectors' classes are known
constexpr std::array<float, 3> kOtherLabelWeights = {kDefaultLabelWeight, 1.0F, 0.0F};
constexpr std::array<LabelSpread, 6> kSpreads = {{{20, 2.0F, 2.0F},
                                                  {20, 2.0F, 1.0F},
                                                  {10, 3.0F, 2.0F},
                                                  {10, 3.0F, 1.0F},
                                                  {5, 4.0F, 2.0F},
                                                  {5, 4.0F, 1.0F}}};
constexpr double kLeastProbability = 1e-3;  // that a hidden label is charged for
constexpr std::size_t kGroups = 5;  // of held-out queries: each is judged by the others' choice
constexpr std::size_t kMostFoldRows = 100000;                // vectors x folds
constexpr std::array<double, 3> kPulls = {64.0, 16.0, 4.0};  // FusionOptions::pull
constexpr std::size_t kMostJudged = 2000;  // queries that fusion weights are learned from

// What a trained model may be made of.
struct Config {
  std::size_t kind = 0;  // of metric
  LabelSpread spread = kSpreads.front();
  LabelUse use;
  bool gnn = false;
  bool fusion = false;  // of the label-free terms, instead of all the above
  double pull = 0;      // 0: their label-free weights
};
struct Option {
  std::string name;  // empty: not shown in the table
  Config config;
  QualityTable quality;
  bool variant = false;  // chosen only where it gains beyond the noise
};

// The queries of `more` behind those of `to`, numbered from `offset`.
void append(QualityTable& to, const QualityTable& more, std::size_t offset) {
  for (const std::size_t query : more.queries) to.queries.push_back(offset + query);
  for (std::size_t m = 0; m < to.values.size(); ++m) {
    to.values[m].insert(to.values[m].end(), more.values[m].begin(), more.values[m].end());
  }
}

// Whether `x` is better than `y` on average over the places outside of group `without` (kGroups:
// over all): by any margin, or by more than the standard error of the difference.
bool better(std::span<const double> x, std::span<const double> y, bool beyond_noise,
            std::size_t without = kGroups) {
  double count = 0, sum = 0, squares = 0;
  for (std::size_t q = 0; q < x.size(); ++q) {
    if (q % kGroups == without) continue;
    const double difference = x[q] - y[q];
    ++count;
    sum += difference;
    squares += difference * difference;
  }
  if (count == 0) return false;
  const double mean = sum / count;
  if (!beyond_noise) return mean > 0;
  const double variance = std::max(0.0, squares / count - mean * mean);
  return mean > std::sqrt(variance / count);
}

// The option that the queries outside of group `without` choose.
std::size_t choose(const std::vector<Option>& options, std::size_t without = kGroups) {
  std::size_t chosen = 0;
  for (std::size_t o = 1; o < options.size(); ++o) {
    if (better(options[o].quality.of(Measure::kMap100),
               options[chosen].quality.of(Measure::kMap100), options[o].variant, without)) {
      chosen = o;
    }
  }
  return chosen;
}

// Every query as judged by the option that the others chose.
QualityTable cross_fitted(const std::vector<Option>& options) {
  std::array<std::size_t, kGroups> choices{};
  for (std::size_t g = 0; g < kGroups; ++g) choices[g] = choose(options, g);
  QualityTable table;
  table.queries = options.front().quality.queries;
  for (std::size_t m = 0; m < table.values.size(); ++m) {
    for (std::size_t q = 0; q < table.queries.size(); ++q) {
      table.values[m].push_back(options[choices[q % kGroups]].quality.values[m][q]);
    }
  }
  return table;
}

std::string percent_points(double share) {
  const double rounded = std::round(share * 1e4) / 100;
  std::string text = std::to_string(rounded);
  return text.substr(0, text.find('.') + 3);
}

// Accepts or refuses: the last line of the table is the trained model. Classes that are guessed
// raise the mean of mAP@100 by putting a whole class first, right one time in many; P@10, a mean
// over places, does not rise by that, so with classes both must.
void decide(TrainReport& report, bool classes) {
  const TrainCandidate& trained = report.table.back();
  const auto automatic =
      std::find_if(report.table.begin(), report.table.end(), [&](const auto& line) {
        return line.name == "auto" && line.gain->mean >= trained.gain->mean;
      });
  const std::string interval =
      "[" + percent_points(trained.gain->low) + ", " + percent_points(trained.gain->high) + "]";
  if (!(trained.gain->low > 0)) {
    report.reason = "the 95% interval of its gain over plain search, " + interval +
                    " points of mAP@100, does not lie above 0";
  } else if (classes && !(trained.gain_at_ten->low > 0)) {
    report.reason =
        "it brings no more of what is relevant into the first ten: the 95% interval of its "
        "gain in P@10 does not lie above 0";
  } else if (automatic != report.table.end()) {
    report.reason = "label-free refinement gains as much on the held-out queries";
  } else {
    report.accepted = true;
    report.reason = "the 95% interval of its gain over plain search, " + interval +
                    " points of mAP@100, lies above 0";
  }
}

// What a checkpoint must agree with.
std::uint64_t run_hash(const GraphSnapshot& snapshot, const TrainingData& data,
                       const TrainOptions& options) {
  std::uint64_t hash = 0;
  const auto add = [&](const void* bytes, std::size_t size) {
    hash = XXH3_64bits_withSeed(bytes, size, hash);
  };
  const auto add_rows = [&](const MatrixView& rows) {
    for (std::size_t i = 0; i < rows.rows; ++i) add(rows.row(i), rows.cols * sizeof(float));
  };
  add_rows(snapshot.vectors());
  add_rows(data.queries);
  add(data.labels.data(), data.labels.size() * sizeof(std::int64_t));
  for (const io::Judgement& judgement : data.judgements) {
    const std::int64_t values[] = {static_cast<std::int64_t>(judgement.query), judgement.id,
                                   judgement.grade};
    add(values, sizeof values);
  }
  const gnn::MetricOptions& metric = options.metric;
  const gnn::GnnTrainOptions& gnn = options.gnn_options;
  const double numbers[] = {options.validation_fraction,
                            static_cast<double>(options.unseen_classes),
                            static_cast<double>(options.epochs),
                            static_cast<double>(options.gnn),
                            static_cast<double>(options.candidates),
                            static_cast<double>(metric.steps),
                            static_cast<double>(metric.batch),
                            metric.rate,
                            metric.penalty,
                            metric.initial_scale,
                            static_cast<double>(metric.check_every),
                            static_cast<double>(metric.restarts),
                            static_cast<double>(gnn.layers),
                            static_cast<double>(gnn.heads),
                            static_cast<double>(gnn.window),
                            static_cast<double>(gnn.steps),
                            static_cast<double>(gnn.batch),
                            static_cast<double>(gnn.most_nodes),
                            static_cast<double>(gnn.check_every),
                            gnn.rate,
                            gnn.penalty};
  add(numbers, sizeof numbers);
  add(&metric.seed, sizeof metric.seed);
  return hash;
}

// One split with what was learned from its training part.
struct Fold {
  TrainingSplit split;
  std::unique_ptr<TrainJudge> judge;
  std::vector<TrainedMetric> metrics;
  std::unique_ptr<LearnedSpace> space;  // of the kind at hand
  std::unique_ptr<LearnedSpace> gnn;    // over the chosen kind
  std::size_t gnn_steps = 0;
};

class Trainer {
 public:
  /// `snapshot`: the engine's, its vectors as floats.
  Trainer(const Engine& engine, const GraphSnapshot& snapshot, const TrainingData& data,
          const TrainOptions& options, const Executor& executor, const Job& job)
      : engine_(engine),
        snapshot_(snapshot),
        data_(data),
        options_(options),
        executor_(executor),
        job_(job),
        checkpoint_(options.checkpoint, options.resume, run_hash(snapshot_, data, options)) {
    SplitOptions split{options.validation_fraction, options.unseen_classes, options.metric.seed};
    split.folds = folds_for(data, options.validation_fraction);
    split.folds = std::max<std::size_t>(
        1, std::min(split.folds, kMostFoldRows / std::max<std::size_t>(1, snapshot_.size())));
    for (; split.fold < split.folds; ++split.fold) {
      folds_.emplace_back();
      folds_.back().split = split_training_data(snapshot_, data, split);
    }
    for (Fold& fold : folds_) {
      fold.judge =
          std::make_unique<TrainJudge>(engine, fold.split, options.candidates, executor, job);
    }
    views_ = train_views(folds_.front().split.base_rows, executor);
    kinds_ = metric_kinds(views_);
  }

  TrainReport run() {
    const TrainingSplit& first = folds_.front().split;
    report_.examples = first.training.size() + first.held_out.size();
    report_.classes = first.num_classes;
    add_line("off", pooled([](Fold& fold) { return fold.judge->plain(); }));
    if (report_.table.front().quality.queries.empty()) {
      throw Error(ErrorCode::kEmpty, "no held-out query has anything relevant to find");
    }
    if (engine_.model() && first.judged.empty()) {
      add_line("auto", pooled([](Fold& fold) { return fold.judge->automatic(); }));
    } else if (engine_.model()) {
      prepare_fusion();
      add_line("auto", judge_fusion([&](const Fold&) { return fusion_->start(); }));
    }
    if (!options_.only_fusion) {
      learn_metrics();
      if (first.num_classes > 0) choose_labels();
      if (options_.gnn) train_gnn_layers();
    }
    if (fusion_) try_fusion();
    for (const Option& option : options_tried_) {
      if (!option.name.empty()) add_line(option.name, option.quality);
    }
    add_line("trained", cross_fitted(options_tried_));
    const Config chosen = options_tried_[choose(options_tried_)].config;
    report_.view = chosen.fusion ? "fusion" : kinds_[chosen.kind].name;
    report_.gnn = chosen.gnn;
    report_.spread = chosen.spread;
    decide(report_, first.num_classes > 0);
    if (report_.accepted && chosen.fusion) {
      report_.fusion = std::make_shared<const gnn::Fusion>(
          fusion_->fusion(chosen.pull > 0 ? fusion_->fit({}, chosen.pull) : fusion_->start()));
    } else if (report_.accepted) {
      report_.model = learn_again(chosen);
    }
    return std::move(report_);
  }

 private:
  template <class Judge>
  QualityTable pooled(const Judge& judge) {
    QualityTable all;
    std::size_t offset = 0;
    for (Fold& fold : folds_) {
      append(all, judge(fold), offset);
      offset += fold.split.validation_queries.rows();
    }
    return all;
  }

  void add_line(const std::string& name, QualityTable quality) {
    TrainCandidate line{name, std::move(quality), std::nullopt, std::nullopt};
    if (!report_.table.empty()) {
      line.gain = paired_bootstrap(report_.table.front().quality.of(Measure::kMap100),
                                   line.quality.of(Measure::kMap100), options_.metric.seed);
      line.gain_at_ten = paired_bootstrap(report_.table.front().quality.of(Measure::kP10),
                                          line.quality.of(Measure::kP10), options_.metric.seed);
    }
    report_.table.push_back(std::move(line));
  }

  std::string stage(const Fold& fold, const std::string& what) const {
    return "fold " + std::to_string(&fold - folds_.data()) + ", " + what;
  }

  RestartCheckpoints checkpoints(const std::string& of_stage) {
    return [this, of_stage](std::size_t restart) {
      return checkpoint_.at(of_stage + ", run " + std::to_string(restart));
    };
  }

  gnn::MetricOptions metric_options(std::size_t examples) const {
    gnn::MetricOptions options = options_.metric;
    if (options_.epochs > 0) {
      options.steps = std::max<std::size_t>(1, options_.epochs * examples / options.batch);
    }
    return options;
  }

  // Each kind of metric in every fold, by itself and as a whole model. The spaces of the best kind
  // are kept.
  void learn_metrics() {
    std::vector<std::unique_ptr<LearnedSpace>> best_spaces;
    for (std::size_t k = 0; k < kinds_.size(); ++k) {
      add_line("metric " + kinds_[k].name, pooled([&](Fold& fold) { return learn(fold, k); }));
    }
    // The joint metric, where there is one, is the default: a mean of several is less noisy.
    for (std::size_t o = 0; o < kinds_.size(); ++o) {
      const std::size_t k = kinds_.size() - 1 - o;
      for (Fold& fold : folds_) {
        fold.space = std::make_unique<LearnedSpace>(
            snapshot_, LearnedProjection(fold.metrics[k].projection), executor_, job_);
      }
      Config config;
      config.kind = k;
      if (folds_.front().split.num_classes == 0) config.use.weight = 0.0F;
      options_tried_.push_back({"model " + kinds_[k].name, config, judge(config), o > 0});
      if (choose(options_tried_) != o) continue;
      best_spaces.clear();
      for (Fold& fold : folds_) best_spaces.push_back(std::move(fold.space));
    }
    for (std::size_t f = 0; f < folds_.size(); ++f) folds_[f].space = std::move(best_spaces[f]);
  }

  QualityTable learn(Fold& fold, std::size_t kind) {
    if (kinds_[kind].joint) {
      fold.metrics.push_back(join(fold.metrics, fold.split.rows));
    } else {
      const TrainView& view = views_[kinds_[kind].view];
      const Matrix queries = apply(view.projection, fold.split.unit_queries, executor_);
      const Matrix pool = apply(view.projection, fold.split.pool_rows, executor_);
      const auto validate = [&](const Matrix& weights) {
        const gnn::Projection metric(std::vector<float>(weights.cols(), 0.0F),
                                     Matrix::copy_of(weights));
        return fold.judge
            ->in_space(apply(metric, queries, executor_), apply(metric, pool, executor_))
            .mean(Measure::kMap100);
      };
      fold.metrics.push_back(learn_metric(kinds_[kind], view, fold.split.rows, fold.split.training,
                                          metric_options(fold.split.training.size()), validate,
                                          checkpoints(stage(fold, kinds_[kind].name)), executor_,
                                          job_));
    }
    const gnn::Projection& metric = fold.metrics.back().projection.projection;
    return fold.judge->in_space(apply(metric, fold.split.unit_queries, executor_),
                                apply(metric, fold.split.pool_rows, executor_));
  }

  // The learned metrics of all views as one; `metrics` in the order of kinds_.
  TrainedMetric join(std::span<const TrainedMetric> metrics, const MatrixView& rows) const {
    std::vector<const TrainedMetric*> parts;
    for (std::size_t k = 0; k < metrics.size(); ++k) {
      if (!kinds_[k].whitening) parts.push_back(&metrics[k]);
    }
    return join_metrics(kinds_.back().name, parts, rows, executor_);
  }

  std::shared_ptr<const gnn::TrainedModel> model_of(const Fold& fold, const Config& config) const {
    return (config.gnn ? *fold.gnn : *fold.space)
        .model(fold.split.training_labels, fold.split.num_classes, config.spread, executor_, job_);
  }
  static std::shared_ptr<const gnn::TrainedModel> with_use(const gnn::TrainedModel& model,
                                                           const LabelUse& use) {
    return model.with_label_use(use.weight, use.plain_share, use.centroid_share);
  }
  QualityTable judge(const Config& config) {
    return pooled([&](Fold& fold) {
      return fold.judge->trained(*with_use(*model_of(fold, config), config.use));
    });
  }

  // The log probability of its class for every held-out vector, whose label the model did not see.
  std::vector<double> hidden_labels_found(const Config& config) const {
    std::vector<double> found;
    for (const Fold& fold : folds_) {
      const gnn::ClassPosteriors posteriors = fold.space->posteriors(
          fold.split.training_labels, fold.split.num_classes, config.spread, executor_, job_);
      for (const gnn::Example& example : fold.split.held_out) {
        const std::size_t row = fold.split.row_nodes[example.row] * gnn::kClassesKept;
        double probability = kLeastProbability;
        for (std::size_t k = row; k < row + gnn::kClassesKept; ++k) {
          if (posteriors.classes[k] != example.group) continue;
          probability =
              std::max(probability, static_cast<double>(posteriors.roots[k]) * posteriors.roots[k]);
        }
        found.push_back(std::log(probability));
      }
    }
    return found;
  }

  // For the best kind: how labels spread, by the labels it hides; then how far classes count, where
  // what is judged, labelled vectors alone, is most of what will be searched.
  void choose_labels() {
    Option& best = options_tried_[choose(options_tried_)];
    std::vector<double> found = hidden_labels_found(best.config);
    const LabelSpread before = best.config.spread;
    for (const LabelSpread& spread : std::span(kSpreads).subspan(1)) {
      Config config = best.config;
      config.spread = spread;
      std::vector<double> more = hidden_labels_found(config);
      if (!better(more, found, true)) continue;
      found = std::move(more);
      best.config = config;
    }
    const bool mostly_labelled = report_.examples * 2 >= snapshot_.size();
    if (mostly_labelled && !options_.unseen_classes) best.config.use.weight = kMostlyLabelledWeight;
    std::vector<std::shared_ptr<const gnn::TrainedModel>> models;
    for (const Fold& fold : folds_) models.push_back(model_of(fold, best.config));
    if (mostly_labelled && !options_.unseen_classes) mix_opinions(models, best.config.use);
    const auto judge_use = [&](const LabelUse& use) {
      std::size_t f = 0;
      return pooled([&](Fold& fold) { return fold.judge->trained(*with_use(*models[f++], use)); });
    };
    if (mostly_labelled || best.config.spread.window != before.window) {
      best.quality = judge_use(best.config.use);
    }
    if (!mostly_labelled) return;
    Config config = best.config;
    for (const float weight : kOtherLabelWeights) {
      config.use.weight = weight;
      options_tried_.push_back({"", config, judge_use(config.use), true});
    }
  }

  // The shares under which the held-out queries' classes are likeliest.
  void mix_opinions(std::span<const std::shared_ptr<const gnn::TrainedModel>> models,
                    LabelUse& use) const {
    // By themselves: centroids, learned neighbours, plain neighbours.
    const std::array<LabelUse, 3> alone = {
        {{use.weight, 0.0F, 1.0F}, {use.weight, 0.0F, 0.0F}, {use.weight, 1.0F, 0.0F}}};
    std::array<std::vector<double>, 3> found;
    for (std::size_t e = 0; e < alone.size(); ++e) {
      for (std::size_t f = 0; f < folds_.size(); ++f) {
        const auto more = folds_[f].judge->class_probabilities(*with_use(*models[f], alone[e]),
                                                               folds_[f].split.all_labels);
        found[e].insert(found[e].end(), more.begin(), more.end());
      }
    }
    const double centroids = static_cast<double>(use.centroid_share);
    const double plain = static_cast<double>(use.plain_share);
    const std::array<double, 3> start = {centroids, (1 - centroids) * (1 - plain),
                                         (1 - centroids) * plain};
    const auto weights = gnn::mixture_weights(found, start);
    use.centroid_share = static_cast<float>(weights[0]);
    use.plain_share = static_cast<float>(weights[2] / (weights[1] + weights[2]));
  }

  // The examples that are nodes of the index, by node.
  static std::vector<gnn::Example> by_node(const TrainingSplit& split,
                                           std::span<const gnn::Example> examples) {
    std::vector<gnn::Example> nodes;
    for (const gnn::Example& example : examples) {
      const std::uint32_t node = split.row_nodes[example.row];
      if (node != gnn::kNoNode) nodes.push_back({node, example.group});
    }
    return nodes;
  }

  gnn::LearnedGnn learn_gnn(const TrainingSplit& split, std::span<const gnn::Example> examples,
                            const TrainedMetric& metric, const LearnedSpace& space,
                            const gnn::GnnTrainOptions& options,
                            const gnn::Checkpointing& checkpointing,
                            const TrainJudge* judge) const {
    const Matrix view = apply(metric.projection.projection, split.base_rows, executor_);
    Matrix identity(view.cols(), view.cols());
    for (std::size_t i = 0; i < view.cols(); ++i) identity.row(i)[i] = 1.0F;
    gnn::GnnStart start{
        view, identity, metric.projection.scale, space.windows(), LearnedSpace::window(), {}};
    start.global_nodes = [&](std::size_t t) { return global_nodes(snapshot_, t); };
    gnn::ValidateGnn validate;
    if (judge != nullptr) {
      validate = [&](const Matrix& weights, const gnn::GnnModel& model) {
        return gnn_quality(start, weights, model, options.window, split, *judge);
      };
    }
    return gnn::train_gnn(start, by_node(split, examples), options, executor_, job_, validate,
                          checkpointing);
  }

  // Of the nodes' last states: the held-out are queries, who attend to their windows as queries do.
  double gnn_quality(const gnn::GnnStart& start, const Matrix& weights, const gnn::GnnModel& model,
                     std::size_t window, const TrainingSplit& split,
                     const TrainJudge& judge) const {
    Matrix x = Matrix::padded(start.view.rows, weights.rows());
    kernels::gemm_nt(start.view, weights, x, executor_);
    gnn::l2_normalise(x, executor_);
    const auto rows_of = [&](std::span<const Id> ids, const MatrixView& state) {
      Matrix rows = Matrix::padded(ids.size(), state.cols);
      for (std::size_t i = 0; i < ids.size(); ++i) {
        std::copy_n(state.row(snapshot_.find(ids[i]).value()), state.cols, rows.row(i));
      }
      return rows;
    };
    double quality = 0;
    gnn::run_gnn(
        std::move(x), model, start.windows, start.stride, window, start.global_nodes,
        [&](std::size_t t, const MatrixView& state) {
          if (t < model.num_layers()) return;
          quality = judge.in_space(rows_of(split.self_ids, state), rows_of(split.pool_ids, state))
                        .mean(Measure::kMap100);
        },
        executor_, job_);
    return quality;
  }

  LearnedProjection with_gnn(const gnn::LearnedGnn& learned, const TrainedMetric& metric) const {
    return {metric.projection.view,
            gnn::compose(learned.weights, metric.projection.projection, executor_), learned.scale,
            std::make_shared<const gnn::GnnQuery>(learned.model, learned.shape),
            options_.gnn_options.window};
  }

  gnn::GnnTrainOptions gnn_options() const {
    gnn::GnnTrainOptions options = options_.gnn_options;
    options.seed = options_.metric.seed;
    return options;
  }

  void train_gnn_layers() {
    Config config = options_tried_[choose(options_tried_)].config;
    try {
      for (Fold& fold : folds_) {
        const bool labels = fold.split.num_classes > 0;  // else the held-out are no nodes
        const gnn::LearnedGnn learned = learn_gnn(
            fold.split, fold.split.training, fold.metrics[config.kind], *fold.space, gnn_options(),
            checkpoint_.at(stage(fold, "gnn")), labels ? fold.judge.get() : nullptr);
        fold.gnn_steps = learned.best_step;
        fold.gnn = std::make_unique<LearnedSpace>(
            snapshot_, with_gnn(learned, fold.metrics[config.kind]), executor_, job_);
      }
    } catch (const Error& error) {
      if (error.code() != ErrorCode::kEmpty) throw;
      return;  // no query has two relevant vectors
    }
    config.gnn = true;
    options_tried_.push_back({"gnn", config, judge(config), true});
  }

  // All judged queries, or those held out and as many others, evenly spaced.
  void prepare_fusion() {
    std::vector<std::uint32_t> queries = folds_.front().split.judged;
    if (queries.size() > kMostJudged) {
      const std::vector<std::uint32_t>& held_out = folds_.front().split.held_out_queries;
      const std::size_t step =
          (queries.size() + kMostJudged - held_out.size() - 1) / (kMostJudged - held_out.size());
      std::vector<std::uint32_t> kept;
      for (std::size_t i = 0; i < queries.size(); ++i) {
        if (i % step == 0 || std::binary_search(held_out.begin(), held_out.end(), queries[i])) {
          kept.push_back(queries[i]);
        }
      }
      queries = std::move(kept);
    }
    fusion_ = std::make_unique<FusionTrainer>(engine_, data_, queries, options_.candidates,
                                              executor_, job_);
  }
  template <class Weights>
  QualityTable judge_fusion(const Weights& weights) {
    return pooled([&](Fold& fold) {
      return fusion_->judge(weights(fold), fold.split.held_out_queries, fold.split.relevance);
    });
  }

  // The label-free weights are the default. What moves them, the little first, and what learns
  // thousands of numbers must be better beyond the noise.
  void try_fusion() {
    for (Option& option : options_tried_) option.variant = true;
    Config config;
    config.fusion = true;
    std::vector<Option> options;
    options.push_back({"", config, judge_fusion([&](const Fold&) { return fusion_->start(); })});
    for (const double pull : kPulls) {
      config.pull = pull;
      options.push_back({"fusion " + std::to_string(std::lround(pull)), config,
                         judge_fusion([&](const Fold& fold) {
                           return fusion_->fit(fold.split.held_out_queries, pull);
                         }),
                         true});
    }
    options_tried_.insert(options_tried_.begin(), std::make_move_iterator(options.begin()),
                          std::make_move_iterator(options.end()));
  }

  // Once more, with what was held out, for as long as was best.
  std::shared_ptr<const gnn::TrainedModel> learn_again(const Config& chosen) {
    const TrainingSplit& split = folds_.front().split;
    const MetricKind& kind = kinds_[chosen.kind];
    std::vector<gnn::Example> everything = split.training;
    everything.insert(everything.end(), split.held_out.begin(), split.held_out.end());
    const auto mean = [&](const auto& steps_of) {
      double sum = 0;
      for (const Fold& fold : folds_) sum += static_cast<double>(steps_of(fold));
      return std::max<std::size_t>(
          1, static_cast<std::size_t>(std::lround(sum / static_cast<double>(folds_.size()))));
    };
    const auto learn_kind = [&](std::size_t k) {
      gnn::MetricOptions options = metric_options(split.training.size());
      options.steps = mean([&](const Fold& fold) { return fold.metrics[k].steps; });
      return learn_metric(kinds_[k], views_[kinds_[k].view], split.rows, everything, options, {},
                          checkpoints("all, " + kinds_[k].name), executor_, job_);
    };
    std::vector<TrainedMetric> metrics;
    if (kind.joint) {
      for (std::size_t k = 0; k + 1 < kinds_.size(); ++k) {
        metrics.push_back(kinds_[k].whitening ? TrainedMetric() : learn_kind(k));
      }
    }
    const TrainedMetric metric = kind.joint ? join(metrics, split.rows) : learn_kind(chosen.kind);
    auto space = std::make_unique<LearnedSpace>(snapshot_, LearnedProjection(metric.projection),
                                                executor_, job_);
    if (chosen.gnn) {
      gnn::GnnTrainOptions gnn = gnn_options();
      gnn.steps = mean([](const Fold& fold) { return fold.gnn_steps; });
      const gnn::LearnedGnn learned =
          learn_gnn(split, everything, metric, *space, gnn, checkpoint_.at("all, gnn"), nullptr);
      space = std::make_unique<LearnedSpace>(snapshot_, with_gnn(learned, metric), executor_, job_);
    }
    return with_use(
        *space->model(split.all_labels, split.num_classes, chosen.spread, executor_, job_),
        chosen.use);
  }

  const Engine& engine_;
  const GraphSnapshot& snapshot_;
  const TrainingData& data_;
  const TrainOptions& options_;
  const Executor& executor_;
  const Job& job_;
  TrainCheckpoint checkpoint_;
  std::vector<Fold> folds_;
  std::vector<TrainView> views_;
  std::vector<MetricKind> kinds_;
  std::vector<Option> options_tried_;
  std::unique_ptr<FusionTrainer> fusion_;  // of judged queries, where the index is refined
  TrainReport report_;
};

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
  gnn_options.validate();
}

TrainReport train(const Engine& engine, const TrainingData& data, const TrainOptions& options,
                  const Executor& executor, const Job& job) {
  options.validate();
  if (options.only_fusion && !data.labels.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "fusion weights are learned from judged queries");
  }
  if (options.only_fusion && !engine.model()) {
    throw Error(ErrorCode::kNotPrepared, "fusion weights need a refined index: prepare it first");
  }
  const auto floats = engine.snapshot()->with_vectors_as(CodeKind::kF32);
  return Trainer(engine, *floats, data, options, executor, job).run();
}

}  // namespace halo
