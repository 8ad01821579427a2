// Learns a refinement model for an index from labels of its vectors or from judged queries, and
// keeps it only where held-out queries say that it helps.
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/train/train_metric.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/io/vectors.h"

namespace halo {

/// What to learn from: labels, or queries with judgements.
struct TrainingData {
  std::vector<std::int64_t> labels;       ///< one a node; negative: unknown
  MatrixView queries;                     ///< [q, dim]
  std::vector<io::Judgement> judgements;  ///< grades above 0 are relevant
};

struct TrainOptions {
  /// Share of the labelled vectors, or of the judged queries, that is held out to judge by, above 0
  /// to 0.5; never more than 1,000 of them.
  double validation_fraction = 0.2;
  /// Hold out whole classes: what is kept must then help classes that it was not shown.
  bool unseen_classes = false;
  /// Passes over the examples; 0: 250 steps of 256 rows.
  std::size_t epochs = 0;
  gnn::MetricOptions metric;
  std::size_t candidates = 400;  ///< what queries will be refined with

  void validate() const;  ///< throws kInvalidArgument
};

/// One line of the validation table.
struct TrainCandidate {
  std::string name;  ///< "off", "auto", "metric spectral", "metric pca", "whitening", "trained"
  QualityTable quality;
  std::optional<Interval> gain;  ///< of mAP@100 over "off"
};

struct TrainReport {
  std::vector<TrainCandidate> table;  ///< "off" first, the last one is the trained model as a whole
  std::size_t examples = 0, classes = 0;
  std::string view;  ///< the metric that validation chose
  bool accepted = false;
  std::string reason;  ///< why it was accepted or refused
  /// Learned again from everything, the held-out included; null where training was refused.
  std::shared_ptr<const gnn::TrainedModel> model;
};

/// Learns a metric on each view, chooses among them by held-out queries, builds the whole model on
/// the best, and accepts it where the 95% paired-bootstrap interval of its gain in mAP@100 over
/// plain search lies above 0 and label-free refinement, where the index has it, is not better. The
/// same seed gives the same model at any number of threads. Throws kInvalidArgument, kEmpty
/// (nothing to learn from, or to judge by), kUnknownId, kDimensionMismatch, kCancelled.
TrainReport train(const Engine& engine, const TrainingData& data, const TrainOptions& options,
                  const Executor& executor, const Job& job = {});

/// A trained model from a learned projection: states, neighbour windows found in its space, and,
/// where `labels` [size] holds classes (gnn::kNoClass: unknown), centroids and propagated
/// posteriors.
struct LearnedProjection {
  std::string view;
  gnn::Projection projection;
  float scale = 10.0F;
};
std::shared_ptr<const gnn::TrainedModel> prepare_trained(
    const GraphSnapshot& snapshot, LearnedProjection learned, std::span<const std::uint32_t> labels,
    std::size_t num_classes, const Executor& executor, const Job& job = {});

}  // namespace halo
