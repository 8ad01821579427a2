// Judges search modes and spaces by the held-out part of a training split: each held-out query is
// searched for among the judged vectors, and is not among its own results.
//
// Thread-safety: immutable after construction; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/train_data.h"

namespace halo {

class TrainJudge {
 public:
  /// Searches for the plain candidates, which every mode begins at. Engine, split and executor are
  /// borrowed. Throws kCancelled.
  TrainJudge(const Engine& engine, const TrainingSplit& split, std::size_t candidates,
             const Executor& executor, const Job& job);

  QualityTable plain() const;
  /// Label-free refinement. Throws kNotPrepared where the index has none.
  QualityTable automatic() const;
  /// A query that is itself a base vector is neither candidate nor neighbour.
  QualityTable trained(const gnn::TrainedModel& model) const;
  /// P(its class | query) for every held-out query, by the model's mixture; `labels`: a node's
  /// class. Only where the held-out are base vectors.
  std::vector<double> class_probabilities(const gnn::TrainedModel& model,
                                          std::span<const std::uint32_t> labels) const;
  /// The order of cosines: `queries` and `pool` are the held-out queries and the judged vectors in
  /// some space, rows of unit length.
  QualityTable in_space(const MatrixView& queries, const MatrixView& pool) const;

  const TrainingSplit& split() const { return split_; }

 private:
  struct Candidates {
    std::vector<std::uint32_t> nodes;  // nearest first
    std::vector<float> distances;
    std::uint32_t self;  // the query's own node, gnn::kNoNode where it has none
  };
  template <class Take>
  void refine_each(const gnn::TrainedModel& model, const Take& take) const;
  void rank(std::size_t query, std::span<const float> cosines, std::span<Id> out) const;

  const Engine& engine_;
  const TrainingSplit& split_;
  std::size_t candidates_;
  const Executor& executor_;
  Job job_;
  std::vector<Candidates> found_;
};

}  // namespace halo
