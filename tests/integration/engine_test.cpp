#include "halo/integration/engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/exact_search.h"
#include "halo/integration/refine.h"
#include "support/test_support.h"

namespace halo {
namespace {

constexpr std::size_t kRows = 1200, kDim = 24, kClusters = 30;

// Clusters that overlap: the plain order mixes them, their neighbourhoods do not.
const Matrix& base() {
  static const Matrix matrix = test::clustered_matrix(kRows, kDim, kClusters, 1.0F, 1);
  return matrix;
}
Matrix queries(std::size_t count, std::uint64_t seed = 99) {
  Matrix q = test::random_matrix(count, kDim, seed);
  for (std::size_t i = 0; i < count; ++i) {
    // Query i is drawn around cluster i % kClusters.
    const Matrix centres = Matrix::copy_of(test::random_matrix(kClusters, kDim, 2));
    for (std::size_t d = 0; d < kDim; ++d) q.row(i)[d] += centres.row(i % kClusters)[d];
  }
  return q;
}

const Engine& plain_engine(Metric metric = Metric::kCosine) {
  const auto build = [](Metric m) {
    BuildOptions options;
    options.metric = m;
    options.deterministic = true;
    return Engine::build(base(), {}, options, Executor(2));
  };
  static const Engine cosine = build(Metric::kCosine), l2 = build(Metric::kL2),
                      ip = build(Metric::kInnerProduct);
  return metric == Metric::kCosine ? cosine : metric == Metric::kL2 ? l2 : ip;
}
const Engine& refined_engine(Metric metric = Metric::kCosine) {
  static const Engine cosine = plain_engine(Metric::kCosine).refined({}, Executor(2)),
                      l2 = plain_engine(Metric::kL2).refined({}, Executor(2)),
                      ip = plain_engine(Metric::kInnerProduct).refined({}, Executor(2));
  return metric == Metric::kCosine ? cosine : metric == Metric::kL2 ? l2 : ip;
}

QueryOptions auto_options(std::size_t k = 10) {
  QueryOptions options;
  options.k = k;
  options.refine = RefineMode::kAuto;
  return options;
}

// Mean share of a query's first k results that come from its own cluster.
double precision(const BatchResults& results) {
  double hits = 0;
  for (std::size_t i = 0; i < results.ids.size(); ++i) {
    const auto cluster = static_cast<Id>((i / results.k) % kClusters);
    hits += results.ids[i] % static_cast<Id>(kClusters) == cluster ? 1 : 0;
  }
  return hits / static_cast<double>(results.ids.size());
}

TEST(Engine, OffIsExactlyPlainSearch) {
  const Matrix q = queries(80);
  for (const Metric metric : {Metric::kCosine, Metric::kL2, Metric::kInnerProduct}) {
    const Engine& engine = refined_engine(metric);
    QueryOptions options;
    options.k = 15;
    const BatchResults results = engine.search(q, options, Executor(2));
    const SearchResults plain =
        search_batch(*engine.snapshot(), q, {options.k, options.ef, {}}, Executor(1));
    for (std::size_t i = 0; i < q.rows(); ++i) {
      ASSERT_EQ(results.found[i], plain.found[i]);
      for (std::size_t r = 0; r < results.found[i]; ++r) {
        EXPECT_EQ(results.ids[i * 15 + r], engine.snapshot()->id(plain.of(i)[r].node));
        EXPECT_EQ(results.scores[i * 15 + r], plain.of(i)[r].distance);
      }
    }
  }
}

TEST(Engine, RefinementGainsOnOverlappingClustersForEveryMetric) {
  const Matrix q = queries(120);
  for (const Metric metric : {Metric::kCosine, Metric::kL2, Metric::kInnerProduct}) {
    const Engine& engine = refined_engine(metric);
    QueryOptions off;
    off.k = 40;
    off.ef = 400;
    const BatchResults refined = engine.search(q, auto_options(40), Executor(2));
    EXPECT_GT(refined.gate, 0.5) << metric_name(metric);
    EXPECT_GT(precision(refined), precision(engine.search(q, off, Executor(2))) + 0.03)
        << metric_name(metric);
  }
}

TEST(Engine, ResultsAreUniqueRankedAndTheSameAtAnyThreadCount) {
  const Matrix q = queries(60);
  const BatchResults one = refined_engine().search(q, auto_options(50), Executor(1));
  const BatchResults four = refined_engine().search(q, auto_options(50), Executor(4));
  EXPECT_EQ(one.ids, four.ids);
  EXPECT_EQ(one.scores, four.scores);
  for (std::size_t i = 0; i < 60; ++i) {
    std::vector<Id> row(one.ids.begin() + static_cast<std::ptrdiff_t>(i * 50),
                        one.ids.begin() + static_cast<std::ptrdiff_t>((i + 1) * 50));
    std::sort(row.begin(), row.end());
    EXPECT_EQ(std::unique(row.begin(), row.end()), row.end());
    EXPECT_TRUE(std::is_sorted(one.scores.rbegin() + static_cast<std::ptrdiff_t>((59 - i) * 50),
                               one.scores.rbegin() + static_cast<std::ptrdiff_t>((60 - i) * 50)));
  }
  EXPECT_GT(one.search_seconds, 0.0);
  EXPECT_GT(one.refine_seconds, 0.0);
  EXPECT_EQ(one.latency_seconds.size(), 60U);
}

TEST(Engine, QueriesUnlikeTheBaseKeepThePlainOrder) {
  // Points between two far clusters each: their windows are no neighbourhood of the graph.
  Matrix q(60, kDim);
  for (std::size_t i = 0; i < 60; ++i) {
    for (std::size_t d = 0; d < kDim; ++d) {
      float sum = 0;
      for (std::size_t j = 0; j < 12; ++j) sum += base().row((i * 131 + j * 7) % kRows)[d];
      q.row(i)[d] = sum;
    }
  }
  const BatchResults refined = refined_engine().search(q, auto_options(30), Executor(2));
  ASSERT_EQ(refined.gate, 0.0);
  QueryOptions off;
  off.k = 30;
  off.ef = 400;
  EXPECT_EQ(refined.ids, refined_engine().search(q, off, Executor(2)).ids);
}

TEST(Engine, SmallBatchesUseTheCalibratedGate) {
  const Engine calibrated = plain_engine().refined({}, Executor(2), {}, queries(200, 5));
  const Matrix q = queries(3);
  EXPECT_EQ(calibrated.search(q, auto_options(), Executor(1)).gate,
            *calibrated.model()->parts().calibrated_gate);
  EXPECT_EQ(refined_engine().search(q, auto_options(), Executor(1)).gate, 1.0 / 32);
  EXPECT_FALSE(refined_engine().model()->parts().calibrated_gate);
  // Too few sample queries measure nothing.
  EXPECT_FALSE(
      plain_engine().refined({}, Executor(2), {}, queries(10)).model()->parts().calibrated_gate);
}

TEST(Engine, FilterHoldsUnderRefinement) {
  const Matrix q = queries(60);
  QueryOptions options = auto_options(20);
  options.filter = Filter::of_predicate([](Node node) { return node % 3 == 0; });
  const Engine& engine = refined_engine();
  const BatchResults results = engine.search(q, options, Executor(2));
  for (std::size_t i = 0; i < results.ids.size(); ++i) {
    ASSERT_GE(results.ids[i], 0);
    EXPECT_EQ(*engine.snapshot()->find(results.ids[i]) % 3, 0U);
  }
  options.filter = Filter::of_ids(*engine.snapshot(), std::vector<Id>{5, 6, 7});
  const BatchResults three = engine.search(q, options, Executor(2));
  for (std::size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(three.found[i], 3U);
    EXPECT_EQ(three.ids[i * 20 + 3], -1);
    EXPECT_EQ(three.scores[i * 20 + 3], 0.0F);
  }
}

TEST(Engine, KeepsTheUsersIds) {
  std::vector<Id> ids(kRows);
  std::iota(ids.begin(), ids.end(), Id{1} << 40);
  BuildOptions options;
  options.metric = Metric::kCosine;
  const Engine engine = Engine::build(base(), ids, options, Executor(2)).refined({}, Executor(2));
  const BatchResults results = engine.search(queries(55), auto_options(), Executor(2));
  for (const Id id : results.ids) EXPECT_GE(id, Id{1} << 40);
}

TEST(Engine, RefusesWhatItCannotAnswer) {
  const Engine& engine = refined_engine();
  const Executor executor(1);
  const auto refused = [&](ErrorCode code, const char* text, const Engine& e, const Matrix& q,
                           const QueryOptions& options) {
    test::expect_error(code, text, [&] { e.search(q, options, executor); });
  };
  const Matrix q = queries(2);
  refused(ErrorCode::kNotPrepared, "never refined", plain_engine(), q, auto_options());
  refused(ErrorCode::kDimensionMismatch, "dimension", engine, Matrix(1, kDim + 1), {});
  Matrix bad = queries(2);
  bad.row(1)[3] = std::numeric_limits<float>::quiet_NaN();
  refused(ErrorCode::kNonFinite, "query 1", engine, bad, auto_options());
  bad.row(1)[3] = std::numeric_limits<float>::infinity();
  refused(ErrorCode::kNonFinite, "query 1", engine, bad, {});
  refused(ErrorCode::kZeroVector, "query 0", engine, Matrix(1, kDim), {});
  QueryOptions options;
  options.k = 0;
  refused(ErrorCode::kInvalidArgument, "k", engine, q, options);
  options.k = kRows + 1;
  refused(ErrorCode::kInvalidArgument, "k", engine, q, options);
  options = auto_options(401);
  refused(ErrorCode::kInvalidArgument, "candidates", engine, q, options);
  options = auto_options();
  options.candidates = 0;
  refused(ErrorCode::kInvalidArgument, "candidates", engine, q, options);
  EXPECT_TRUE(engine.search(Matrix(0, kDim), {}, executor).ids.empty());

  test::expect_error(ErrorCode::kEmpty, "no vectors",
                     [&] { Engine::build(Matrix(0, 3), {}, {}, executor); });
  test::expect_error(ErrorCode::kInvalidArgument, "snapshot",
                     [] { Engine engine_without(nullptr); });
  const Engine small = Engine::build(base().view().sub_rows(0, 50), {}, {}, executor);
  test::expect_error(ErrorCode::kModelMismatch, "50",
                     [&] { Engine(small.snapshot(), engine.model()); });
  test::expect_error(ErrorCode::kDimensionMismatch, "dimension",
                     [&] { plain_engine().refined({}, executor, {}, Matrix(60, kDim + 1)); });
}

TEST(Engine, StopsOnRequestAndLeavesTheIndexAsItWas) {
  std::stop_source source;
  source.request_stop();
  const Job stopped{nullptr, source.get_token()};
  test::expect_error(ErrorCode::kCancelled, "stopped",
                     [&] { plain_engine().refined({}, Executor(2), stopped); });
  test::expect_error(ErrorCode::kCancelled, "stopped",
                     [&] { plain_engine().search(queries(5), {}, Executor(2), stopped); });
  EXPECT_EQ(plain_engine().search(queries(5), {}, Executor(2)).ids.size(), 50U);
}

TEST(Engine, TinyIndexesRefineWithoutHarm) {
  for (const std::size_t rows : {1U, 2U, 5U}) {
    const Engine engine = Engine::build(base().view().sub_rows(0, rows), {}, {}, Executor(1))
                              .refined({}, Executor(1));
    QueryOptions options = auto_options(rows);
    const BatchResults results = engine.search(queries(60), options, Executor(1));
    for (std::size_t i = 0; i < 60; ++i) EXPECT_EQ(results.found[i], rows);
  }
}

TEST(Engine, SavesAndLoadsTheSameAnswers) {
  const test::TemporaryFolder folder;
  const Matrix q = queries(60);
  const auto path = folder / "index.halo";
  for (const Metric metric : {Metric::kCosine, Metric::kL2, Metric::kInnerProduct}) {
    plain_engine(metric).save(path);
    EXPECT_EQ(Engine::load(path).model(), nullptr);
    refined_engine(metric).save(path);
    const Engine loaded = Engine::load(path);
    for (const QueryOptions& options : {QueryOptions{}, auto_options()}) {
      const BatchResults before = refined_engine(metric).search(q, options, Executor(2));
      const BatchResults after = loaded.search(q, options, Executor(2));
      EXPECT_EQ(before.ids, after.ids);
      EXPECT_EQ(before.scores, after.scores);
      EXPECT_EQ(before.gate, after.gate);
    }
  }
  const Engine calibrated = plain_engine().refined({}, Executor(2), {}, queries(200, 5));
  calibrated.save(path);
  EXPECT_EQ(Engine::load(path).model()->parts().calibrated_gate,
            calibrated.model()->parts().calibrated_gate);
}

TEST(GlobalNodes, ReachOneLayerFurtherDownPerGnnLayer) {
  const GraphSnapshot& snapshot = *plain_engine().snapshot();
  const std::size_t top = snapshot.num_layers() - 1;
  std::size_t lowest = top;
  while (lowest > 0 && snapshot.layer_nodes(lowest - 1).size() <= 256) --lowest;
  for (std::size_t t = 0; t < 5; ++t) {
    const std::size_t layer = std::max(lowest, top >= t ? top - t : 0);
    const auto nodes = global_nodes(snapshot, t);
    EXPECT_TRUE(std::equal(nodes.begin(), nodes.end(), snapshot.layer_nodes(layer).begin(),
                           snapshot.layer_nodes(layer).end()));
  }
}

}  // namespace
}  // namespace halo
