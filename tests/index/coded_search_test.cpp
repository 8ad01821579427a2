// Building and searching on codes: the same API, nearly the same results.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "halo/index/snapshot_search.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;

constexpr CodeKind kKinds[] = {CodeKind::kF32, CodeKind::kBf16, CodeKind::kF16, CodeKind::kInt8};

std::shared_ptr<const GraphSnapshot> coded_snapshot(const MatrixView& data, Metric metric,
                                                    CodeKind codes) {
  BuildOptions options = test::build_options(metric);
  options.codes = codes;
  return test::snapshot_of(data, options);
}

Matrix whole(std::size_t n, std::size_t d, std::uint64_t seed) {
  Matrix data = test::clustered_matrix(n, d, 20, 0.6F, seed);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      data.row(i)[j] = std::round(std::clamp(data.row(i)[j] * 30 + 128, 0.0F, 255.0F));
    }
  }
  return data;
}

double recall(const GraphSnapshot& snapshot, const MatrixView& queries, std::size_t ef) {
  const Executor executor(2);
  SearchOptions options;
  options.ef = ef;
  return recall_at(10, search_batch(snapshot, queries, options, executor),
                   exact_search_batch(snapshot, queries, options, executor));
}

TEST(CodedSearch, RecallOfEveryKindMetricAndDimension) {
  for (const std::size_t dim : {3U, 24U, 77U}) {
    const Matrix data = test::clustered_matrix(2000, dim, 20, 0.6F, 1);
    const Matrix queries = test::clustered_matrix(100, dim, 20, 0.6F, 2);
    for (const Metric metric : test::kMetrics) {
      const double plain = recall(*coded_snapshot(data, metric, CodeKind::kF32), queries, 64);
      for (const CodeKind kind : kKinds) {
        const auto snapshot = coded_snapshot(data, metric, kind);
        EXPECT_EQ(snapshot->codes().kind(), kind);
        EXPECT_EQ(snapshot->unreachable_count(), 0U);
        EXPECT_GT(recall(*snapshot, queries, 64), plain - 0.02)
            << metric_name(metric) << " " << code_kind_name(kind) << " " << dim;
      }
    }
  }
}

// Results carry exact distances, whatever the walk was on.
TEST(CodedSearch, DistancesAreExact) {
  const Matrix data = test::clustered_matrix(1200, 19, 10, 0.6F, 3);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = coded_snapshot(data, metric, CodeKind::kInt8);
    const Executor executor(2);
    SearchOptions options;
    const SearchResults found =
        search_batch(*snapshot, data.view().sub_rows(0, 50), options, executor);
    options.k = snapshot->size();
    const SearchResults all =
        exact_search_batch(*snapshot, data.view().sub_rows(0, 50), options, executor);
    for (std::size_t q = 0; q < 50; ++q) {
      for (const Neighbour& result : found.of(q)) {
        const auto exact = all.of(q);
        const auto same = std::find_if(exact.begin(), exact.end(),
                                       [&](const Neighbour& n) { return n.node == result.node; });
        EXPECT_EQ(same->distance, result.distance);
      }
      EXPECT_TRUE(std::is_sorted(
          found.of(q).begin(), found.of(q).end(), [](const Neighbour& a, const Neighbour& b) {
            return std::pair(a.distance, a.node) < std::pair(b.distance, b.node);
          }));
    }
  }
}

// Bytes under l2: codes lose nothing, so building and searching give what float32 gives.
TEST(CodedSearch, LosslessCodesAreFloat32) {
  const Matrix data = whole(1500, 40, 4), queries = whole(60, 40, 5);
  const auto plain = coded_snapshot(data, Metric::kL2, CodeKind::kF32);
  const auto coded = coded_snapshot(data, Metric::kL2, CodeKind::kInt8);
  EXPECT_TRUE(coded->codes().lossless());
  EXPECT_TRUE(test::same_parts(*plain, *coded));
  const Executor executor(2);
  for (const std::size_t ef : {10U, 40U}) {
    SearchOptions options;
    options.ef = ef;
    EXPECT_EQ(search_batch(*coded, queries, options, executor).neighbours,
              search_batch(*plain, queries, options, executor).neighbours);
  }
}

TEST(CodedSearch, AnotherKindOfCodesOnTheSameIndex) {
  const Matrix data = test::clustered_matrix(800, 16, 10, 0.6F, 6);
  const auto plain = test::snapshot_of(data);
  EXPECT_EQ(plain->memory_usage().codes, 0U);
  const auto coded = plain->with_codes(CodeKind::kInt8);
  EXPECT_EQ(coded->memory_usage().codes, 800U * 64);
  EXPECT_EQ(coded->memory_usage().vectors, plain->memory_usage().vectors);
  EXPECT_TRUE(test::same_parts(*plain, *coded));
  EXPECT_EQ(coded->vectors().data, plain->vectors().data);
  const Executor executor(1);
  SearchOptions options, exact_walk;
  exact_walk.exact_walk = true;
  EXPECT_EQ(search_batch(*coded, data, exact_walk, executor).neighbours,
            search_batch(*plain, data, options, executor).neighbours);
}

TEST(CodedSearch, WithoutVectorsCodesAnswer) {
  const Matrix data = whole(1200, 30, 17), queries = whole(50, 30, 18);
  const auto full = coded_snapshot(data, Metric::kL2, CodeKind::kInt8);
  const auto lean = full->without_vectors();
  EXPECT_EQ(lean->memory_usage().vectors, 0U);
  EXPECT_EQ(lean->memory_usage().codes, full->memory_usage().codes);
  const Executor executor(2);
  SearchOptions options;
  EXPECT_EQ(search_batch(*lean, queries, options, executor).neighbours,
            search_batch(*full, queries, options, executor).neighbours);
  options.filter = Filter::of_ids(*lean, std::vector<Id>{3, 70, 71});
  EXPECT_EQ(search_batch(*lean, queries, options, executor).neighbours,
            search_batch(*full, queries, options, executor).neighbours);
  options.filter = {};

  const auto cosine = coded_snapshot(data, Metric::kCosine, CodeKind::kInt8);
  EXPECT_GT(recall_at(10, search_batch(*cosine->without_vectors(), queries, options, executor),
                      exact_search_batch(*cosine, queries, options, executor)),
            0.8);
  options.exact_walk = true;
  expect_error(ErrorCode::kNotPrepared, "codes only",
               [&] { search_batch(*lean, queries, options, executor); });
  expect_error(ErrorCode::kNotPrepared, "codes only",
               [&] { exact_search_batch(*lean, queries, {}, executor); });
  expect_error(ErrorCode::kNotPrepared, "codes only", [&] { lean->vector(0); });
  expect_error(ErrorCode::kNotPrepared, "codes only", [&] { lean->with_codes(CodeKind::kBf16); });
  expect_error(ErrorCode::kInvalidArgument, "without codes",
               [&] { test::snapshot_of(data)->without_vectors(); });
}

TEST(CodedSearch, RescoringMoreBuysRecallAndNeverMoreThanThePool) {
  const Matrix data = test::random_matrix(3000, 24, 7), queries = test::random_matrix(100, 24, 8);
  const auto snapshot = coded_snapshot(data, Metric::kL2, CodeKind::kInt8);
  const Executor executor(2);
  SearchOptions options;
  const SearchResults exact = exact_search_batch(*snapshot, queries, options, executor);
  double before = 0;
  for (const std::size_t rescore : {1U, 12U, 64U, 100000U}) {
    options.rescore = rescore;
    const double now = recall_at(10, search_batch(*snapshot, queries, options, executor), exact);
    EXPECT_GE(now, before - 1e-9) << rescore;
    before = now;
  }
}

TEST(CodedSearch, FiltersAndSmallGraphs) {
  const Matrix data = test::clustered_matrix(2000, 16, 20, 0.7F, 9);
  const auto snapshot = coded_snapshot(data, Metric::kCosine, CodeKind::kInt8);
  const Executor executor(2);
  SearchOptions options;
  options.filter = Filter::of_predicate([](Node node) { return node % 3 == 0; });
  const SearchResults found = search_batch(*snapshot, data, options, executor);
  for (std::size_t q = 0; q < data.rows(); ++q) {
    ASSERT_EQ(found.found[q], 10U);
    for (const Neighbour& n : found.of(q)) ASSERT_EQ(n.node % 3, 0U);
  }
  EXPECT_GT(recall_at(10, found, exact_search_batch(*snapshot, data, options, executor)), 0.95);

  for (const std::size_t n : {1U, 2U, 11U}) {
    const auto small = coded_snapshot(data.view().sub_rows(0, n), Metric::kL2, CodeKind::kInt8);
    SearchOptions all;
    all.k = n;
    EXPECT_EQ(search_batch(*small, data.view().sub_rows(0, n), all, executor).found,
              std::vector<std::size_t>(n, n));
  }
}

TEST(CodedSearch, SameResultsAtAnyThreadCount) {
  const Matrix data = test::clustered_matrix(900, 20, 10, 0.6F, 10);
  for (const CodeKind kind : kKinds) {
    BuildOptions options = test::build_options(Metric::kCosine);
    options.codes = kind;
    std::vector<std::vector<Neighbour>> results;
    for (const std::size_t threads : {1U, 2U, 4U}) {
      const Executor executor(threads);
      VectorIndex index(20, options);
      index.add(data, executor);
      results.push_back(search_batch(*index.seal(executor), data, {}, executor).neighbours);
    }
    EXPECT_EQ(results[0], results[1]);
    EXPECT_EQ(results[0], results[2]);
  }
}

// Later vectors out of the range of the first: the codes are made anew, and a refused batch leaves
// them as they were.
TEST(CodedBuild, RangesGrowAndComeBack) {
  const Matrix first = test::clustered_matrix(400, 12, 8, 0.5F, 11);
  Matrix second = test::clustered_matrix(400, 12, 8, 0.5F, 12);
  for (std::size_t i = 0; i < 400; ++i) {
    for (std::size_t j = 0; j < 12; ++j) second.row(i)[j] *= 20;
  }
  const Executor executor(2);
  BuildOptions options = test::build_options(Metric::kL2);
  options.codes = CodeKind::kInt8;
  VectorIndex index(12, options);
  index.add(first, executor);
  const auto before = index.seal(executor);
  Matrix broken = Matrix::copy_of(second);
  broken.row(399)[2] = NAN;
  expect_error(ErrorCode::kNonFinite, "vector 399", [&] { index.add(broken, executor); });
  EXPECT_TRUE(test::same_parts(*before, *index.seal(executor)));
  index.add(second, executor);
  const auto after = index.seal(executor);
  EXPECT_EQ(after->size(), 800U);
  EXPECT_GT(recall(*after, second, 64), 0.97);
}

TEST(CodedBuild, RefusesUnknownCodes) {
  BuildOptions options;
  options.codes = static_cast<CodeKind>(9);
  expect_error(ErrorCode::kInvalidArgument, "codes 9", [&] { VectorIndex(4, options); });
}

// What the index chooses by itself.
TEST(CodedBuild, AutoKeepsSmallIndexesInFloat32) {
  BuildOptions options = test::build_options(Metric::kL2);
  const auto snapshot = test::snapshot_of(whole(500, 8, 13), options);
  EXPECT_EQ(snapshot->codes().kind(), CodeKind::kF32);
}

TEST(CodedBuild, AutoTakesInt8ForBytesAndLosesNothingElsewhere) {
  const std::size_t n = 10000;
  if (test::kThreadSanitizer) GTEST_SKIP() << "too slow under ThreadSanitizer";
  BuildOptions options = test::build_options(Metric::kL2);
  EXPECT_EQ(test::snapshot_of(whole(n, 8, 14), options)->codes().kind(), CodeKind::kInt8);
  for (const Metric metric : test::kMetrics) {
    const Matrix data = test::clustered_matrix(n, 12, 100, 0.7F, 15);
    const Matrix queries = test::clustered_matrix(300, 12, 100, 0.7F, 16);
    const auto snapshot = test::snapshot_of(data, test::build_options(metric));
    const auto plain = snapshot->with_codes(CodeKind::kF32);
    for (const std::size_t ef : {16U, 64U}) {
      EXPECT_GE(recall(*snapshot, queries, ef), recall(*plain, queries, ef) - 0.005)
          << metric_name(metric) << " ef " << ef;
    }
  }
}

}  // namespace
}  // namespace halo
