// Learns a refinement model for an index from labels of its vectors or from judged queries, and
// keeps it only where held-out queries say that it helps.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/train/train_gnn.h"
#include "halo/gnn/train/train_metric.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/io/vectors.h"
#include "halo/integration/learned_space.h"

namespace halo {

/// What to learn from: labels, or queries with judgements.
struct TrainingData {
  std::vector<std::int64_t> labels;       ///< one a node; negative: unknown
  MatrixView queries;                     ///< [q, dim]
  std::vector<io::Judgement> judgements;  ///< grades above 0 are relevant
};

struct TrainOptions {
  /// Share of the labelled vectors, or of the judged queries, that is held out to judge by, above 0
  /// to 0.5; never more than 1,000 of them. Where that leaves few, it is done several times over,
  /// each time with others (train_data.h).
  double validation_fraction = 0.2;
  /// Hold out whole classes: what is kept must then help classes that it was not shown.
  bool unseen_classes = false;
  /// Passes over the examples; 0: 250 steps of 256 rows.
  std::size_t epochs = 0;
  gnn::MetricOptions metric;
  /// Train the full GNN too, over the best metric, and keep it where it is better. Costs time.
  bool gnn = false;
  gnn::GnnTrainOptions gnn_options;
  /// Learn nothing but fusion weights, from judged queries on an index with label-free refinement:
  /// a second instead of many, and eight numbers.
  bool only_fusion = false;
  std::size_t candidates = 400;  ///< what queries will be refined with
  /// Where the state of training is kept while it runs; empty: nowhere. With `resume` it goes on
  /// from there, to the same model as without an interruption.
  std::filesystem::path checkpoint;
  bool resume = false;

  void validate() const;  ///< throws kInvalidArgument
};

/// One line of the validation table.
struct TrainCandidate {
  /// "off", "auto"; metrics by themselves: "metric spectral", "whitening", "metric pca"; with the
  /// graph and the classes: "model spectral", ...; "gnn"; "fusion 16", ... (its pull);
  /// and "trained": what was chosen, each
  /// query judged by the choice that the other queries make.
  std::string name;
  QualityTable quality;
  std::optional<Interval> gain;         ///< of mAP@100 over "off"
  std::optional<Interval> gain_at_ten;  ///< of P@10 over "off"
};

struct TrainReport {
  std::vector<TrainCandidate> table;  ///< "off" first, "trained" last
  std::size_t examples = 0, classes = 0;
  std::string view;    ///< the metric that validation chose
  bool gnn = false;    ///< it chose the full GNN
  LabelSpread spread;  ///< what it chose for labels
  bool accepted = false;
  std::string reason;  ///< why it was accepted or refused
  /// Learned again from everything, the held-out included; both null where training was refused,
  /// else one of them: a model, or weights for the terms of the index's label-free refinement.
  std::shared_ptr<const gnn::TrainedModel> model;
  std::shared_ptr<const gnn::Fusion> fusion;
};

/// Learns a metric on each view, builds a whole model on each, chooses among them and among ways to
/// use the labels by held-out queries, and accepts the choice where the 95% paired-bootstrap
/// intervals of its gains in mAP@100 and P@10 over plain search lie above 0 and label-free
/// refinement, where the index has it, is not better. The same seed gives the same model at any
/// number of threads, interrupted or not. Throws kInvalidArgument, kEmpty (nothing to learn from,
/// or to judge by), kNotPrepared (only_fusion without
/// label-free refinement), kUnknownId, kDimensionMismatch, kModelMismatch (the checkpoint of
/// another run), kCancelled.
TrainReport train(const Engine& engine, const TrainingData& data, const TrainOptions& options,
                  const Executor& executor, const Job& job = {});

}  // namespace halo
