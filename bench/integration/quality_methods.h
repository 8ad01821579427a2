// Every method that bench_quality compares, run over one data set.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/integration/eval/metrics.h"
#include "quality_data.h"

namespace halo::bench {

struct QualityOptions {
  std::size_t candidates = 400;  ///< of the index's nearest; what every method re-orders
  std::size_t k = 100;           ///< results kept
  /// Queries that share one neighbour graph with the base in k-reciprocal encoding and GNN
  /// re-ranking: 1 is a search engine, which meets queries one by one; 0 is all of them, as those
  /// papers' own programs do.
  std::size_t together = 1;
  bool baselines = true;  ///< false: plain search and auto alone
};

struct MethodResult {
  std::string name;
  bool baseline = false;  ///< neither plain nor halo's own refinement
  QualityTable quality;
};

struct Methods {
  std::vector<MethodResult> results;  ///< plain search first, auto second, then the baselines
  double gate = 0;                    ///< what auto's harm gate let through
};

/// Throws halo::Error as Engine does.
Methods run_methods(const QualityData& data, const QualityOptions& options,
                    const Executor& executor);

}  // namespace halo::bench
