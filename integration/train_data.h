// What training learns from and what it is judged by: labels or judgements, split by a seed.
//
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/gnn/train/train_metric.h"
#include "halo/index/snapshot_search.h"
#include "halo/integration/eval/metrics.h"

namespace halo {

struct TrainingData;

struct TrainingSplit {
  Matrix base_rows;  ///< every vector of the index, as refinement sees it (unit length but for l2)
  Matrix rows;       ///< the rows that examples number
  std::vector<gnn::Example> training, held_out;
  std::size_t num_classes = 0;                 ///< 0 for judgements
  std::vector<std::uint32_t> training_labels;  ///< a class or kNoClass for every node
  std::vector<std::uint32_t> all_labels;

  Matrix validation_queries;  ///< as a user would search for them
  Matrix unit_queries;        ///< the same as refinement sees them
  std::vector<Id> self_ids;   ///< the id of a query that is itself in the index, else -1
  std::vector<Id> pool_ids;   ///< what they are judged among: the labelled vectors, or all of them
  Matrix pool_rows;           ///< theirs, as refinement sees them
  Filter filter;              ///< the pool, empty for all of them
  Relevance relevance;        ///< of pool ids to held-out queries
};

/// Throws kInvalidArgument (neither or both kinds of data, another number of labels), kEmpty (too
/// few examples to hold some out), kUnknownId (a judged id that the index does not hold, a query
/// number out of range), kDimensionMismatch.
TrainingSplit split_training_data(const GraphSnapshot& snapshot, const TrainingData& data,
                                  double validation_fraction, bool unseen_classes,
                                  std::uint64_t seed);

}  // namespace halo
