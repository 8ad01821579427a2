// Vectors of six classes, told apart by two of their dimensions, and an index over them.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "halo/integration/train.h"
#include "support/test_support.h"

namespace halo::test {

inline constexpr std::size_t kRows = 600, kQueries = 120, kDim = 24;

// Classes differ in two of the dimensions; the others, louder, say nothing.
struct Data {
  Matrix vectors;
  std::vector<std::int64_t> labels;
};
inline Data make_data(std::size_t rows, std::uint64_t seed) {
  Data data{random_matrix(rows, kDim, seed), {}};
  for (std::size_t i = 0; i < rows; ++i) {
    const double angle = static_cast<double>(i % 6);
    float* row = data.vectors.row(i);
    row[0] = 0.3F * row[0] + static_cast<float>(2.0 * std::cos(angle));
    row[1] = 0.3F * row[1] + static_cast<float>(2.0 * std::sin(angle));
    data.labels.push_back(static_cast<std::int64_t>(10 * (i % 6)));
  }
  return data;
}

inline Engine build(const MatrixView& vectors) {
  BuildOptions options;
  options.metric = Metric::kCosine;
  options.deterministic = true;
  return Engine::build(vectors, {}, options, Executor(1));
}

// Labels by node, as train() takes them.
inline TrainingData by_node(const Engine& engine, const std::vector<std::int64_t>& labels) {
  TrainingData data;
  for (const Id id : engine.snapshot()->ids()) {
    data.labels.push_back(labels[static_cast<std::size_t>(id)]);
  }
  return data;
}

inline TrainOptions fast() {
  TrainOptions options;
  options.metric.steps = 60;
  options.metric.restarts = 2;
  options.metric.batch = 64;
  options.metric.rate = 1e-2F;
  options.candidates = 150;
  return options;
}

inline double map_of(const Engine& engine, const Data& base, const Data& queries, RefineMode mode) {
  QueryOptions options;
  options.k = 100;
  options.refine = mode;
  options.candidates = 150;
  const BatchResults results = engine.search(queries.vectors, options, Executor(2));
  std::vector<Id> ids(base.labels.size());
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<Id>(i);
  return quality({results.ids, results.k}, Relevance::from_labels(ids, base.labels, queries.labels))
      .mean(Measure::kMap100);
}

class TrainTest : public testing::Test {
 protected:
  Data base_ = make_data(kRows, 1), queries_ = make_data(kQueries, 2);
  Engine engine_ = build(base_.vectors);
};

}  // namespace halo::test
