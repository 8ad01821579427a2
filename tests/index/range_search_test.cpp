#include "halo/index/range_search.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>

#include "halo/core/random.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;

TEST(RangeSearch, RandomRadiiAgainstBruteForce) {
  const Matrix data = test::clustered_matrix(1500, 12, 12, 0.6F, 1);
  const Matrix queries = test::clustered_matrix(30, 12, 12, 0.6F, 2);
  Random random(3);
  for (const Metric metric : test::kMetrics) {
    for (const CodeKind codes : {CodeKind::kF32, CodeKind::kInt8}) {
      BuildOptions build = test::build_options(metric);
      build.codes = codes;
      const auto snapshot = test::snapshot_of(data, build);
      std::size_t found = 0, wanted = 0;
      for (std::size_t q = 0; q < queries.rows(); ++q) {
        RangeOptions options;
        options.radius = std::numeric_limits<float>::infinity();
        const auto all = exact_range_search(snapshot, queries.row_span(q), options);
        ASSERT_EQ(all.size(), 1500U);
        // A radius that holds some of them; the exact distance of one of them at times.
        options.radius = all[random.below(400)].distance;
        if (q % 3 == 0) options.filter = Filter::of_predicate([](Node n) { return n % 3 != 0; });
        const auto exact = exact_range_search(snapshot, queries.row_span(q), options);
        const auto ours = range_search(snapshot, queries.row_span(q), options);
        std::set<Node> truth, nodes;
        for (const Neighbour& n : exact) truth.insert(n.node);
        for (std::size_t i = 0; i < ours.size(); ++i) {
          EXPECT_LE(ours[i].distance, options.radius);
          EXPECT_TRUE(options.filter.allows(ours[i].node));
          if (i > 0) {
            EXPECT_LE(ours[i - 1].distance, ours[i].distance);
          }
          nodes.insert(ours[i].node);
          found += truth.count(ours[i].node);
        }
        EXPECT_EQ(nodes.size(), ours.size());
        wanted += truth.size();
      }
      // Links between near vectors are no sure way to the longest ones.
      const double share = metric == Metric::kInnerProduct ? 0.85 : 0.98;
      EXPECT_GT(static_cast<double>(found), share * static_cast<double>(wanted))
          << metric_name(metric) << " " << code_kind_name(codes);
    }
  }
}

TEST(RangeSearch, EverythingAndNothing) {
  const Matrix data = test::random_matrix(300, 6, 4);
  const auto snapshot = test::snapshot_of(data);
  RangeOptions options;
  options.radius = std::numeric_limits<float>::infinity();
  EXPECT_EQ(range_search(snapshot, data.row_span(0), options).size(), 300U);
  options.radius = 0;
  EXPECT_EQ(range_search(snapshot, data.row_span(9), options).size(), 1U);
  options.radius = -1;
  EXPECT_TRUE(range_search(snapshot, data.row_span(0), options).empty());
}

TEST(RangeSearch, BatchEqualsSingleSearchesAtAnyThreadCount) {
  const Matrix data = test::clustered_matrix(700, 8, 6, 0.6F, 5);
  const auto snapshot = test::snapshot_of(data);
  RangeOptions options;
  options.radius = 2.0F;
  for (const std::size_t threads : {1U, 2U}) {
    const RangeResults batch =
        range_search_batch(snapshot, data.view().sub_rows(0, 50), options, Executor(threads));
    ASSERT_EQ(batch.offsets.size(), 51U);
    for (std::size_t q = 0; q < 50; ++q) {
      const auto one = range_search(snapshot, data.row_span(q), options);
      EXPECT_TRUE(std::equal(one.begin(), one.end(), batch.of(q).begin(), batch.of(q).end()));
    }
  }
}

TEST(RangeSearch, Errors) {
  const Matrix data = test::random_matrix(20, 4, 6);
  const auto snapshot = test::snapshot_of(data);
  RangeOptions options;
  expect_error(ErrorCode::kInvalidArgument, "without a snapshot",
               [&] { range_search(nullptr, data.row_span(0), options); });
  options.radius = std::numeric_limits<float>::quiet_NaN();
  expect_error(ErrorCode::kInvalidArgument, "NaN",
               [&] { range_search(snapshot, data.row_span(0), options); });
  options = {};
  options.ef = 0;
  expect_error(ErrorCode::kInvalidArgument, "ef is 0",
               [&] { exact_range_search(snapshot, data.row_span(0), options); });
  options = {};
  expect_error(ErrorCode::kDimensionMismatch, "3 floats",
               [&] { range_search(snapshot, data.row_span(0).first(3), options); });
  std::stop_source stop;
  stop.request_stop();
  expect_error(ErrorCode::kCancelled, "stopped", [&] {
    range_search_batch(snapshot, data, options, Executor(1), {nullptr, stop.get_token()});
  });
}

}  // namespace
}  // namespace halo
