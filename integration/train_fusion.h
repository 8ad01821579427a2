// Fusion weights from judged queries: the terms of their candidates, what is learned from some of
// them, and how others are then ordered.
//
// Thread-safety: immutable after construction; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/query_refinement.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/train.h"

namespace halo {

class FusionTrainer {
 public:
  /// `queries`: numbers of judged queries, ascending. The engine must have a refinement model.
  /// Engine and executor are borrowed. Throws kCancelled.
  FusionTrainer(const Engine& engine, const TrainingData& data,
                std::span<const std::uint32_t> queries, std::size_t candidates,
                const Executor& executor, const Job& job);

  /// The label-free weights, at the gate that these queries have measured, however few.
  const std::vector<float>& start() const { return start_; }
  /// Learned from all queries but those of `without`, ascending (FusionOptions::pull).
  std::vector<float> fit(std::span<const std::uint32_t> without, double pull) const;
  gnn::Fusion fusion(std::vector<float> weights) const;
  /// `queries`, ascending, ordered by these weights.
  QualityTable judge(std::span<const float> weights, std::span<const std::uint32_t> queries,
                     const Relevance& relevance) const;

 private:
  struct List {
    gnn::QueryTerms terms;
    std::vector<std::uint8_t> relevant;
  };
  const List& list_of(std::uint32_t query) const;

  const Engine& engine_;
  const Executor& executor_;
  std::vector<std::uint32_t> queries_;
  std::vector<List> lists_;
  std::vector<float> start_;
};

}  // namespace halo
