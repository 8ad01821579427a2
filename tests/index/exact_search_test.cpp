#include "halo/index/exact_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "index/index_fixtures.h"

namespace halo {
namespace {

TEST(ExactSearch, EqualsASortOfAllDistances) {
  const Matrix data = test::random_matrix(333, 19, 1), queries = test::random_matrix(50, 19, 2);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = test::snapshot_of(data, metric);
    const Matrix stored_queries =
        metric == Metric::kCosine ? test::normalised(queries) : Matrix::copy_of(queries);
    SearchOptions options;
    options.k = 7;
    const SearchResults batch = exact_search_batch(*snapshot, queries, options, executor);
    for (std::size_t q = 0; q < queries.rows(); ++q) {
      std::vector<Neighbour> one(options.k);
      ASSERT_EQ(exact_search(*snapshot, queries.row_span(q), options, one), options.k);
      EXPECT_TRUE(std::equal(one.begin(), one.end(), batch.of(q).begin(), batch.of(q).end()));
      std::vector<std::pair<double, Node>> all;
      for (Node node = 0; node < snapshot->size(); ++node) {
        double dot = 0, l2 = 0;
        for (std::size_t j = 0; j < 19; ++j) {
          const double x = stored_queries.row(q)[j], y = snapshot->vector(node)[j];
          dot += x * y;
          l2 += (x - y) * (x - y);
        }
        all.emplace_back(metric == Metric::kL2 ? l2 : 1 - dot, node);
      }
      std::sort(all.begin(), all.end());
      for (std::size_t i = 0; i < options.k; ++i) {
        EXPECT_NEAR(one[i].distance, all[i].first, 1e-4);
        EXPECT_EQ(one[i].node, all[i].second);
      }
    }
  }
}

TEST(ExactSearch, EqualDistancesComeInNodeOrder) {
  const Matrix data = Matrix::padded(20, 3);
  const auto snapshot = test::snapshot_of(data);
  SearchOptions options;
  options.k = 12;
  std::vector<Neighbour> out(12);
  ASSERT_EQ(exact_search(*snapshot, data.row_span(0), options, out), 12U);
  for (Node i = 0; i < 12; ++i) EXPECT_EQ(out[i], (Neighbour{0.0F, i}));
}

TEST(ExactSearch, AllVectorsAndFilters) {
  const Matrix data = test::random_matrix(40, 5, 3);
  const auto snapshot = test::snapshot_of(data);
  SearchOptions options;
  options.k = 40;
  std::vector<Neighbour> out(40);
  EXPECT_EQ(exact_search(*snapshot, data.row_span(0), options, out), 40U);
  options.filter = Filter::of_predicate([](Node node) { return node % 10 == 3; });
  ASSERT_EQ(exact_search(*snapshot, data.row_span(0), options, out), 4U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(out[i].node % 10, 3U);
  options.filter = Filter::of_ids(*snapshot, {});
  const SearchResults none = exact_search_batch(*snapshot, data, options, Executor(2));
  EXPECT_EQ(none.found, std::vector<std::size_t>(40, 0));
}

TEST(ExactSearch, RefusesWhatSearchRefuses) {
  Matrix data = test::random_matrix(8, 5, 4);
  const auto snapshot = test::snapshot_of(data, Metric::kCosine);
  const Executor executor(1);
  SearchOptions options;
  options.k = 2;
  std::vector<Neighbour> out(2);
  const std::vector<float> zero(5), narrow(4, 1.0F);
  test::expect_error(ErrorCode::kZeroVector, "query",
                     [&] { exact_search(*snapshot, zero, options, out); });
  test::expect_error(ErrorCode::kDimensionMismatch, "4 floats",
                     [&] { exact_search(*snapshot, narrow, options, out); });
  data.row(6)[0] = std::numeric_limits<float>::infinity();
  test::expect_error(ErrorCode::kNonFinite, "query 6",
                     [&] { exact_search_batch(*snapshot, data, options, executor); });
  options.k = 9;
  test::expect_error(ErrorCode::kInvalidArgument, "k is 9",
                     [&] { exact_search_batch(*snapshot, data, options, executor); });
  options.k = 3;
  test::expect_error(ErrorCode::kInvalidArgument, "room for 2",
                     [&] { exact_search(*snapshot, data.row_span(0), options, out); });
}

}  // namespace
}  // namespace halo
