#include "halo/index/snapshot_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <set>
#include <thread>

#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/hnswlib_peer.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;
using test::plain_distance;
using test::snapshot_of;

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

std::vector<Neighbour> search_one(const GraphSnapshot& snapshot, std::span<const float> query,
                                  const SearchOptions& options) {
  SearchScratch scratch;
  std::vector<Neighbour> out(options.k);
  out.resize(search(snapshot, query, options, scratch, out));
  return out;
}

bool ascending(std::span<const Neighbour> results) {
  return std::is_sorted(results.begin(), results.end(), [](const Neighbour& a, const Neighbour& b) {
    return std::pair(a.distance, a.node) < std::pair(b.distance, b.node);
  });
}

TEST(SnapshotSearch, ExactAtFullWidthForEveryMetric) {
  const Matrix data = test::clustered_matrix(600, 24, 12, 0.5F, 1);
  const Matrix queries = test::clustered_matrix(40, 24, 12, 0.5F, 2);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = snapshot_of(data, metric);
    SearchOptions options;
    options.k = 10;
    options.ef = 600;
    const SearchResults found = search_batch(*snapshot, queries, options, executor);
    for (std::size_t q = 0; q < queries.rows(); ++q) {
      std::vector<std::pair<double, std::size_t>> truth;
      for (std::size_t i = 0; i < data.rows(); ++i) {
        truth.emplace_back(plain_distance(metric, queries.row_span(q), data.row_span(i)), i);
      }
      std::sort(truth.begin(), truth.end());
      ASSERT_EQ(found.found[q], options.k);
      EXPECT_TRUE(ascending(found.of(q)));
      for (std::size_t i = 0; i < options.k; ++i) {
        const Neighbour result = found.of(q)[i];
        EXPECT_NEAR(result.distance, truth[i].first, 1e-4 * (1 + std::fabs(truth[i].first)));
        EXPECT_NEAR(
            plain_distance(metric, queries.row_span(q),
                           data.row_span(static_cast<std::size_t>(snapshot->id(result.node)))),
            result.distance, 1e-4 * (1 + std::fabs(result.distance)));
      }
    }
  }
}

TEST(SnapshotSearch, RecallIsThatOfHnswlib) {
  if (test::kThreadSanitizer) GTEST_SKIP() << "hnswlib's own insertion inverts its lock order";
  constexpr std::size_t kRows = 3000, kQueries = 200, k = 10, M = 8, kEfConstruction = 60;
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    Matrix data = test::clustered_matrix(kRows, 32, 30, 1.0F, 3);
    Matrix queries = test::clustered_matrix(kQueries, 32, 30, 1.0F, 4);
    if (metric == Metric::kCosine) {
      data = test::normalised(data);
      queries = test::normalised(queries);
    }
    BuildOptions build = test::build_options(metric);
    const auto snapshot = snapshot_of(data, build);
    SearchOptions options;
    options.k = k;
    const SearchResults exact = exact_search_batch(*snapshot, queries, options, executor);
    double difference = 0, lowest = 1;
    for (const std::size_t ef : {10U, 20U, 40U, 80U}) {
      options.ef = ef;
      const double ours = recall_at(k, search_batch(*snapshot, queries, options, executor), exact);
      const auto theirs = test::hnswlib_nearest(metric, data, M, kEfConstruction, queries, k, ef);
      std::size_t hits = 0;
      for (std::size_t q = 0; q < kQueries; ++q) {
        std::set<Id> truth;
        for (const Neighbour& n : exact.of(q)) truth.insert(snapshot->id(n.node));
        for (const std::size_t row : theirs[q]) hits += truth.count(static_cast<Id>(row));
      }
      const double peer = static_cast<double>(hits) / (kQueries * k);
      difference += (ours - peer) / 4;
      lowest = std::min(lowest, ours);
      EXPECT_GT(ours, peer - 0.03) << metric_name(metric) << " ef " << ef;
    }
    // Other levels are drawn, so a single ef differs by the luck of 200 queries.
    EXPECT_GT(difference, -0.01) << metric_name(metric);
    EXPECT_GT(lowest, 0.5) << metric_name(metric);
  }
}

TEST(SnapshotSearch, EveryDimensionIncludingTails) {
  for (std::size_t dim = 1; dim <= 70; dim += 2) {
    const Matrix data = test::random_matrix(80, dim, dim);
    for (const Metric metric : test::kMetrics) {
      const auto snapshot = snapshot_of(data, metric);
      SearchOptions options;
      options.k = 80;
      options.ef = 80;
      const auto found = search_one(*snapshot, data.row_span(7), options);
      ASSERT_EQ(found.size(), 80U);
      std::set<Node> distinct;
      for (const Neighbour& n : found) {
        distinct.insert(n.node);
        const double expected =
            plain_distance(metric, data.row_span(7),
                           data.row_span(static_cast<std::size_t>(snapshot->id(n.node))));
        EXPECT_NEAR(n.distance, expected, 1e-4 * (1 + std::fabs(expected)));
      }
      EXPECT_EQ(distinct.size(), 80U);
    }
  }
}

TEST(SnapshotSearch, OneVector) {
  const Matrix data = test::random_matrix(1, 5, 1);
  const auto snapshot = snapshot_of(data);
  SearchOptions options;
  options.k = 1;
  const auto found = search_one(*snapshot, data.row_span(0), options);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0], (Neighbour{0.0F, 0}));
}

TEST(SnapshotSearch, DuplicatesAreAllFoundInNodeOrder) {
  Matrix data = Matrix::padded(60, 4);
  for (std::size_t i = 0; i < 60; ++i) data.row(i)[0] = i < 40 ? 1.0F : static_cast<float>(i);
  const auto snapshot = snapshot_of(data);
  SearchOptions options;
  options.k = 40;
  options.ef = 60;
  const auto found = search_one(*snapshot, data.row_span(0), options);
  ASSERT_EQ(found.size(), 40U);
  for (std::size_t i = 0; i < 40; ++i) {
    EXPECT_EQ(found[i].distance, 0.0F);
    if (i > 0) {
      EXPECT_LT(found[i - 1].node, found[i].node);
    }
  }
}

TEST(SnapshotSearch, InnerProductOfAnyLength) {
  Matrix data = test::random_matrix(500, 16, 5);
  for (std::size_t i = 0; i < data.rows(); ++i) {
    for (std::size_t j = 0; j < data.cols(); ++j) {
      data.row(i)[j] *= std::pow(10.0F, static_cast<float>(i % 5) - 2);
    }
  }
  const auto snapshot = snapshot_of(data, Metric::kInnerProduct);
  const Executor executor(2);
  SearchOptions options;
  options.ef = 200;
  const SearchResults exact = exact_search_batch(*snapshot, data, options, executor);
  EXPECT_GT(recall_at(10, search_batch(*snapshot, data, options, executor), exact), 0.9);
}

TEST(SnapshotSearch, BatchEqualsSingleSearchesAtAnyThreadCount) {
  const Matrix data = test::clustered_matrix(800, 12, 8, 0.7F, 6);
  const Matrix queries = test::random_matrix(37, 12, 7);
  const auto snapshot = snapshot_of(data);
  SearchOptions options;
  options.k = 5;
  options.ef = 20;
  for (const std::size_t threads : {1U, 2U, 4U}) {
    const SearchResults batch = search_batch(*snapshot, queries, options, Executor(threads));
    for (std::size_t q = 0; q < queries.rows(); ++q) {
      const auto one = search_one(*snapshot, queries.row_span(q), options);
      EXPECT_TRUE(std::equal(one.begin(), one.end(), batch.of(q).begin(), batch.of(q).end()));
    }
  }
}

TEST(SnapshotSearch, OneScratchServesIndexesOfAnySize) {
  const Matrix small = test::random_matrix(20, 6, 8), large = test::random_matrix(900, 33, 9);
  const auto first = snapshot_of(small), second = snapshot_of(large);
  SearchOptions options;
  options.k = 3;
  SearchScratch scratch;
  std::vector<Neighbour> out(3);
  for (int round = 0; round < 3; ++round) {
    EXPECT_EQ(search(*first, small.row_span(4), options, scratch, out), 3U);
    EXPECT_EQ(first->id(out[0].node), 4);
    EXPECT_EQ(search(*second, large.row_span(800), options, scratch, out), 3U);
    EXPECT_EQ(second->id(out[0].node), 800);
  }
}

// One thread's scratch outlives the 16-bit counter of its marks.
TEST(SnapshotSearch, MarksSurviveTheirCounter) {
  const Matrix data = test::random_matrix(30, 3, 10);
  const auto snapshot = snapshot_of(data);
  SearchOptions options;
  options.k = 4;
  options.ef = 4;
  SearchScratch scratch;
  std::vector<Neighbour> first(4), out(4);
  search(*snapshot, data.row_span(0), options, scratch, first);
  for (int i = 0; i < 66000; ++i) {
    search(*snapshot, data.row_span(0), options, scratch, out);
    ASSERT_EQ(out, first) << "search " << i;
  }
}

TEST(SnapshotSearch, ConcurrentSearchesAgree) {
  const Matrix data = test::clustered_matrix(500, 16, 10, 0.6F, 11);
  const auto snapshot = snapshot_of(data);
  SearchOptions options;
  const auto expected = search_one(*snapshot, data.row_span(3), options);
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        if (search_one(*snapshot, data.row_span(3), options) != expected) ++wrong;
      }
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

class FilteredSearch : public ::testing::Test {
 protected:
  FilteredSearch()
      : data_(test::clustered_matrix(2000, 16, 20, 0.7F, 12)),
        queries_(test::clustered_matrix(30, 16, 20, 0.7F, 13)),
        snapshot_(snapshot_of(data_)) {}

  std::shared_ptr<std::vector<std::uint64_t>> random_bits(double share, std::uint64_t seed) const {
    auto bits = std::make_shared<std::vector<std::uint64_t>>((snapshot_->size() + 63) / 64, 0);
    Random random(seed);
    for (std::size_t i = 0; i < snapshot_->size(); ++i) {
      if (random.uniform() < share) (*bits)[i / 64] |= std::uint64_t{1} << (i % 64);
    }
    return bits;
  }

  Matrix data_, queries_;
  std::shared_ptr<const GraphSnapshot> snapshot_;
  Executor executor_{2};
};

TEST_F(FilteredSearch, ReturnsOnlyAllowedNodesWithGoodRecall) {
  for (const double share : {0.005, 0.05, 0.3, 0.6, 0.95}) {
    const auto bits = random_bits(share, 14);
    const auto allowed = [bits](Node node) {
      return ((*bits)[node / 64] >> (node % 64) & 1U) != 0;
    };
    for (const Filter& filter : {Filter::of_bits(bits), Filter::of_predicate(allowed)}) {
      SearchOptions options;
      options.k = 5;
      options.filter = filter;
      const SearchResults exact = exact_search_batch(*snapshot_, queries_, options, executor_);
      const SearchResults found = search_batch(*snapshot_, queries_, options, executor_);
      for (std::size_t q = 0; q < queries_.rows(); ++q) {
        EXPECT_EQ(found.found[q], options.k) << share;
        EXPECT_TRUE(ascending(found.of(q)));
        for (const Neighbour& n : found.of(q)) EXPECT_TRUE(allowed(n.node));
      }
      EXPECT_GT(recall_at(options.k, found, exact), 0.95) << share;
    }
  }
}

TEST_F(FilteredSearch, FewerAllowedThanWantedAreAllFound) {
  const std::vector<Id> ids{5, 1999, 700};
  SearchOptions options;
  options.k = 10;
  options.filter = Filter::of_ids(*snapshot_, ids);
  auto found = search_one(*snapshot_, queries_.row_span(0), options);
  std::set<Id> names;
  for (const Neighbour& n : found) names.insert(snapshot_->id(n.node));
  EXPECT_EQ(names, std::set<Id>(ids.begin(), ids.end()));

  options.filter = Filter::of_predicate([&](Node node) { return snapshot_->id(node) == 700; });
  found = search_one(*snapshot_, queries_.row_span(0), options);
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(snapshot_->id(found[0].node), 700);
}

TEST_F(FilteredSearch, NothingAllowedFindsNothing) {
  SearchOptions options;
  for (const Filter& filter :
       {Filter::of_ids(*snapshot_, {}), Filter::of_predicate([](Node) { return false; })}) {
    options.filter = filter;
    EXPECT_TRUE(search_one(*snapshot_, queries_.row_span(0), options).empty());
    const SearchResults batch = search_batch(*snapshot_, queries_, options, executor_);
    EXPECT_EQ(batch.found, std::vector<std::size_t>(queries_.rows(), 0));
    EXPECT_EQ(batch.neighbours[0].node, kNoNode);
  }
}

TEST_F(FilteredSearch, EverythingAllowedIsThePlainSearch) {
  SearchOptions plain, all;
  all.filter = Filter::of_predicate([](Node) { return true; });
  EXPECT_EQ(search_batch(*snapshot_, queries_, all, executor_).neighbours,
            search_batch(*snapshot_, queries_, plain, executor_).neighbours);
}

TEST_F(FilteredSearch, RefusesBadFilters) {
  expect_error(ErrorCode::kUnknownId, "2000", [&] {
    Filter::of_ids(*snapshot_, std::vector<Id>{1, 2000});
  });
  expect_error(ErrorCode::kInvalidArgument, "no bitset", [] { Filter::of_bits(nullptr); });
  expect_error(ErrorCode::kInvalidArgument, "no predicate", [] { Filter::of_predicate({}); });
  SearchOptions options;
  options.filter = Filter::of_bits(std::make_shared<std::vector<std::uint64_t>>(31, ~0ULL));
  expect_error(ErrorCode::kInvalidArgument, "1984 bits for 2000 vectors",
               [&] { search_batch(*snapshot_, queries_, options, executor_); });
}

TEST(SnapshotSearchErrors, EveryBadRequest) {
  const Matrix data = test::random_matrix(10, 4, 15);
  const auto snapshot = snapshot_of(data);
  const auto cosine = snapshot_of(data, Metric::kCosine);
  const Executor executor(1);
  const auto with = [&](std::size_t k, std::size_t ef) {
    SearchOptions options;
    options.k = k;
    options.ef = ef;
    return options;
  };
  SearchScratch scratch;
  std::vector<Neighbour> out(10);
  const auto run = [&](const GraphSnapshot& s, std::vector<float> query, SearchOptions options) {
    search(s, query, options, scratch, out);
  };
  expect_error(ErrorCode::kInvalidArgument, "k is 0", [&] {
    run(*snapshot, {1, 2, 3, 4}, with(0, 5));
  });
  expect_error(ErrorCode::kInvalidArgument, "k is 11", [&] {
    run(*snapshot, {1, 2, 3, 4}, with(11, 5));
  });
  expect_error(ErrorCode::kInvalidArgument, "ef is 0", [&] {
    run(*snapshot, {1, 2, 3, 4}, with(1, 0));
  });
  expect_error(ErrorCode::kDimensionMismatch, "3 floats", [&] {
    run(*snapshot, {1, 2, 3}, with(1, 5));
  });
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    expect_error(ErrorCode::kNonFinite, "query", [&] {
      run(*snapshot, {1, 2, bad, 4}, with(1, 5));
    });
    expect_error(ErrorCode::kNonFinite, "query", [&] { run(*cosine, {1, 2, bad, 4}, with(1, 5)); });
  }
  expect_error(ErrorCode::kNonFinite, "too long", [&] {
    run(*snapshot, {3e38F, 0, 0, 0}, with(1, 5));
  });
  run(*cosine, {3e38F, 0, 0, 0}, with(1, 5));
  expect_error(ErrorCode::kZeroVector, "query", [&] { run(*cosine, {0, 0, 0, 0}, with(1, 5)); });
  expect_error(ErrorCode::kZeroVector, "query",
               [&] { validate_query(*cosine, std::vector<float>(4)); });
  expect_error(ErrorCode::kInvalidArgument, "room for 2", [&] {
    search(*snapshot, data.row_span(0), with(3, 5), scratch, std::span(out).first(2));
  });

  Matrix queries = test::random_matrix(5, 4, 16);
  queries.row(3)[1] = kNan;
  expect_error(ErrorCode::kNonFinite, "query 3",
               [&] { search_batch(*snapshot, queries, with(1, 5), executor); });
  expect_error(ErrorCode::kDimensionMismatch, "5 floats", [&] {
    search_batch(*snapshot, test::random_matrix(2, 5, 1), with(1, 5), executor);
  });
  std::stop_source stop;
  stop.request_stop();
  expect_error(ErrorCode::kCancelled, "stopped", [&] {
    search_batch(*snapshot, data, with(1, 5), executor, {nullptr, stop.get_token()});
  });
}

}  // namespace
}  // namespace halo
