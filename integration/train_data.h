// What training learns from and what it is judged by: labels or judgements, split by a seed.
//
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
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
  std::vector<std::uint32_t> row_nodes;        ///< of `rows`: gnn::kNoNode for a judged query
  std::size_t num_classes = 0;                 ///< 0 for judgements
  std::vector<std::uint32_t> training_labels;  ///< a class or kNoClass for every node
  std::vector<std::uint32_t> all_labels;

  Matrix validation_queries;  ///< as a user would search for them
  Matrix unit_queries;        ///< the same as refinement sees them
  std::vector<Id> self_ids;   ///< the id of a query that is itself in the index, else -1
  std::vector<Id> pool_ids;   ///< what they are judged among: the labelled vectors, or all of them
  Matrix pool_rows;           ///< theirs, as refinement sees them
  Filter filter;              ///< the pool, empty for all of them
  std::vector<std::uint32_t> judged;            ///< numbers of all judged queries, ascending
  std::vector<std::uint32_t> held_out_queries;  ///< and of those held out; none of labels
  Relevance relevance;                          ///< of pool ids to held-out queries
};

/// Classes, numbered in the order of their labels, of the nodes with labels from 0 on; kNoClass of
/// the others.
std::vector<std::uint32_t> classes_of(std::span<const std::int64_t> labels, std::size_t& count);

/// How the examples are split: `folds` of one shuffled order, each of which holds out another
/// `fraction` of it.
struct SplitOptions {
  double fraction = 0.2;        ///< of the labelled vectors or judged queries, at most 1,000
  bool unseen_classes = false;  ///< hold out whole classes
  std::uint64_t seed = 1;
  std::size_t folds = 1, fold = 0;
};

/// How many folds it takes for about 200 held-out queries in all: 1 where there are as many in one,
/// and at most as many as never hold out a vector twice.
std::size_t folds_for(const TrainingData& data, double fraction);

/// Throws kInvalidArgument (neither or both kinds of data, another number of labels), kEmpty (too
/// few examples to hold some out), kUnknownId (a judged id that the index does not hold, a query
/// number out of range), kDimensionMismatch.
TrainingSplit split_training_data(const GraphSnapshot& snapshot, const TrainingData& data,
                                  const SplitOptions& options);

}  // namespace halo
