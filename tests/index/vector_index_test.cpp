#include "halo/index/vector_index.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <new>
#include <numeric>
#include <set>

#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/index_fixtures.h"
#include "support/failing_allocator.h"

namespace halo {
namespace {

using test::expect_error;

const float kNan = std::numeric_limits<float>::quiet_NaN();
const float kInfinity = std::numeric_limits<float>::infinity();

TEST(VectorIndex, KeepsVectorsUnderTheirIds) {
  const Matrix data = test::random_matrix(300, 9, 1);
  std::vector<Id> ids(300);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<Id>((i * 7919) % 10007) << 32U;
  const Executor executor(2);
  VectorIndex index(9, test::build_options(Metric::kL2, false));
  index.add(data.view().sub_rows(0, 100), std::span(ids).first(100), executor);
  index.add(data.view().sub_rows(100, 200), std::span(ids).subspan(100), executor);
  EXPECT_EQ(index.size(), 300U);
  EXPECT_TRUE(index.contains(ids[250]));
  EXPECT_FALSE(index.contains(1));
  const auto snapshot = index.seal(executor);
  ASSERT_EQ(snapshot->size(), 300U);
  for (std::size_t i = 0; i < 300; ++i) {
    const auto node = snapshot->find(ids[i]);
    ASSERT_TRUE(node.has_value());
    EXPECT_EQ(snapshot->id(*node), ids[i]);
    EXPECT_TRUE(std::equal(data.row(i), data.row(i) + 9, snapshot->vector(*node).begin()));
  }
}

TEST(VectorIndex, WithoutIdsRowNumbersGoOn) {
  const Matrix data = test::random_matrix(50, 3, 2);
  const Executor executor(1);
  VectorIndex index(3, {});
  index.add(data.view().sub_rows(0, 20), executor);
  index.add(data.view().sub_rows(20, 30), {}, executor);
  for (Id id = 0; id < 50; ++id) EXPECT_TRUE(index.contains(id));
  EXPECT_FALSE(index.contains(50));
  index.add(MatrixView(nullptr, 0, 3), executor);
  EXPECT_EQ(index.size(), 50U);
}

TEST(VectorIndex, CosineStoresUnitVectorsOfAnyLength) {
  Matrix data = test::random_matrix(60, 11, 3);
  for (std::size_t i = 0; i < 60; ++i) {
    for (std::size_t j = 0; j < 11; ++j) {
      data.row(i)[j] *= std::pow(10.0F, static_cast<float>(i) - 30);
    }
  }
  const auto snapshot = test::snapshot_of(data, Metric::kCosine);
  for (Node node = 0; node < 60; ++node) {
    double squared = 0;
    for (const float x : snapshot->vector(node)) squared += double{x} * x;
    EXPECT_NEAR(squared, 1.0, 1e-5);
  }
}

TEST(VectorIndex, SealKeepsEveryInvariantAndReachesEverything) {
  for (const std::size_t n :
       {std::size_t{1}, std::size_t{2}, std::size_t{65}, test::parallel_rows(1000)}) {
    for (const bool deterministic : {true, false}) {
      const Matrix data = test::clustered_matrix(n, 10, 7, 0.3F, n);
      const auto snapshot =
          test::snapshot_of(data, test::build_options(Metric::kL2, deterministic));
      EXPECT_EQ(snapshot->size(), n);
      EXPECT_EQ(snapshot->unreachable_count(), 0U);
      EXPECT_EQ(snapshot->M(), 8U);
      EXPECT_EQ(snapshot->ef_construction(), 60U);
      EXPECT_EQ(snapshot->seed(), 100U);
    }
  }
}

// hnswlib loses nodes among many copies of one vector; a sealed index must not.
TEST(VectorIndex, DuplicatesStayReachable) {
  Matrix data = test::random_matrix(600, 4, 4);
  for (std::size_t i = 0; i < 600; i += 2) std::copy_n(data.row(0), 4, data.row(i));
  BuildOptions options = test::build_options(Metric::kL2);
  options.M = 2;
  options.ef_construction = 4;
  const auto snapshot = test::snapshot_of(data, options);
  EXPECT_EQ(snapshot->unreachable_count(), 0U);
}

TEST(VectorIndex, TheBuilderGoesOnAfterASeal) {
  const Matrix data = test::clustered_matrix(900, 12, 9, 0.6F, 5);
  const Executor executor(2);
  VectorIndex index(12, test::build_options(Metric::kL2));
  std::vector<std::shared_ptr<const GraphSnapshot>> snapshots;
  for (std::size_t i = 0; i < 900; i += 300) {
    index.add(data.view().sub_rows(i, 300), executor);
    snapshots.push_back(index.seal(executor));
    EXPECT_EQ(snapshots.back()->size(), i + 300);
  }
  SearchOptions options;
  const SearchResults exact = exact_search_batch(*snapshots.back(), data, options, executor);
  EXPECT_GT(recall_at(10, search_batch(*snapshots.back(), data, options, executor), exact), 0.97);
  // One insertion in batches is the same as at once.
  EXPECT_TRUE(test::same_parts(*snapshots.back(), *test::snapshot_of(data)));
}

TEST(VectorIndex, DeterministicAtAnyThreadCountAndBySeed) {
  const Matrix data = test::clustered_matrix(500, 16, 5, 0.5F, 6);
  BuildOptions options = test::build_options(Metric::kCosine);
  std::vector<std::shared_ptr<const GraphSnapshot>> snapshots;
  for (const std::size_t threads : {1U, 2U, 4U}) {
    const Executor executor(threads);
    VectorIndex index(16, options);
    index.add(data, executor);
    snapshots.push_back(index.seal(executor));
  }
  EXPECT_TRUE(test::same_parts(*snapshots[0], *snapshots[1]));
  EXPECT_TRUE(test::same_parts(*snapshots[0], *snapshots[2]));
  options.seed = 101;
  EXPECT_FALSE(test::same_parts(*snapshots[0], *test::snapshot_of(data, options)));
}

// The level of a vector is a function of seed and row, also when threads race.
TEST(VectorIndex, LevelsDoNotDependOnThreads) {
  const std::size_t n = test::parallel_rows(3000);
  const Matrix data = test::random_matrix(n, 4, 7);
  std::map<Id, std::uint8_t> levels[2];
  for (const bool parallel : {false, true}) {
    const auto snapshot = test::snapshot_of(data, test::build_options(Metric::kL2, !parallel));
    for (Node node = 0; node < snapshot->size(); ++node) {
      levels[parallel][snapshot->id(node)] = snapshot->levels()[node];
    }
  }
  EXPECT_EQ(levels[0], levels[1]);
  const auto above = std::count_if(levels[0].begin(), levels[0].end(),
                                   [](const auto& level) { return level.second > 0; });
  const double expected = static_cast<double>(n) / 8;  // 1 / M of all
  EXPECT_NEAR(static_cast<double>(above), expected, 4 * std::sqrt(expected));
}

TEST(VectorIndex, ParallelBuildingFindsAsMuchAsSequential) {
  const Matrix data = test::clustered_matrix(test::parallel_rows(2000), 16, 20, 0.9F, 8);
  const Executor executor(2);
  double recall[2];
  for (const bool parallel : {false, true}) {
    const auto snapshot = test::snapshot_of(data, test::build_options(Metric::kL2, !parallel));
    SearchOptions options;
    options.ef = 30;
    const SearchResults exact = exact_search_batch(*snapshot, data, options, executor);
    recall[parallel] = recall_at(10, search_batch(*snapshot, data, options, executor), exact);
  }
  EXPECT_GT(recall[0], 0.9);
  EXPECT_NEAR(recall[1], recall[0], 0.02);
}

class VectorIndexErrors : public ::testing::Test {
 protected:
  VectorIndexErrors() { index_.add(data_, executor_); }

  // Expects the error, and the index exactly as before it.
  template <class Statement>
  void expect_refused(ErrorCode code, const std::string& text, Statement&& statement) {
    const auto before = index_.seal(executor_);
    expect_error(code, text, statement);
    EXPECT_EQ(index_.size(), 100U);
    EXPECT_TRUE(test::same_parts(*before, *index_.seal(executor_))) << text;
    EXPECT_FALSE(index_.contains(100));
    EXPECT_FALSE(index_.contains(1000));
  }

  Executor executor_{2};
  Matrix data_ = test::random_matrix(100, 6, 9), more_ = test::random_matrix(40, 6, 10);
  VectorIndex index_{6, test::build_options(Metric::kCosine)};
};

TEST_F(VectorIndexErrors, BadVectors) {
  expect_refused(ErrorCode::kDimensionMismatch, "5 floats for an index of dimension 6",
                 [&] { index_.add(test::random_matrix(3, 5, 1), executor_); });
  expect_refused(ErrorCode::kInvalidArgument, "stride",
                 [&] { index_.add(MatrixView(more_.data(), 3, 6, 5), executor_); });
  for (const float bad : {kNan, kInfinity, -kInfinity}) {
    Matrix broken = Matrix::copy_of(more_);
    broken.row(33)[5] = bad;
    expect_refused(ErrorCode::kNonFinite, "vector 33", [&] { index_.add(broken, executor_); });
  }
  Matrix zero = Matrix::copy_of(more_);
  std::fill_n(zero.row(17), 6, 0.0F);
  expect_refused(ErrorCode::kZeroVector, "vector 17", [&] { index_.add(zero, executor_); });
}

TEST_F(VectorIndexErrors, TooLongForADistance) {
  VectorIndex l2(6, test::build_options(Metric::kL2));
  Matrix huge = Matrix::copy_of(more_);
  huge.row(2)[0] = 1e19F;
  expect_error(ErrorCode::kNonFinite, "vector 2 is too long", [&] { l2.add(huge, executor_); });
  EXPECT_EQ(l2.size(), 0U);
  huge.row(2)[0] = 9e18F;
  l2.add(huge, executor_);
  EXPECT_EQ(l2.seal(executor_)->size(), 40U);
}

TEST_F(VectorIndexErrors, BadIds) {
  std::vector<Id> ids(40);
  std::iota(ids.begin(), ids.end(), Id{1000});
  const auto add = [&] { index_.add(more_, ids, executor_); };
  ids[12] = 99;
  expect_refused(ErrorCode::kDuplicateId, "id 99 of vector 12", add);
  ids[12] = 1039;
  expect_refused(ErrorCode::kDuplicateId, "id 1039 of vector 39", add);
  ids[12] = -1;
  expect_refused(ErrorCode::kInvalidArgument, "id -1 of vector 12 is negative", add);
  ids.pop_back();
  expect_refused(ErrorCode::kInvalidArgument, "39 ids for 40 vectors", add);
}

TEST_F(VectorIndexErrors, RowNumbersThatAreTaken) {
  VectorIndex index(6, {});
  const std::vector<Id> ids{3};
  index.add(data_.view().sub_rows(0, 1), ids, executor_);
  expect_error(ErrorCode::kDuplicateId, "id 3",
               [&] { index.add(data_.view().sub_rows(1, 5), executor_); });
  EXPECT_EQ(index.size(), 1U);
  EXPECT_FALSE(index.contains(1));
}

TEST_F(VectorIndexErrors, AStop) {
  std::stop_source stop;
  stop.request_stop();
  const Job job{nullptr, stop.get_token()};
  expect_refused(ErrorCode::kCancelled, "stopped", [&] { index_.add(more_, executor_, job); });
  expect_refused(ErrorCode::kCancelled, "stopped", [&] { index_.seal(executor_, job); });
}

TEST_F(VectorIndexErrors, NothingToSeal) {
  expect_error(ErrorCode::kEmpty, "without vectors", [&] { VectorIndex(4, {}).seal(executor_); });
}

TEST_F(VectorIndexErrors, OutOfMemoryAnywhere) {
  const Executor executor(1);
  VectorIndex index(6, test::build_options(Metric::kL2));
  index.add(data_.view().sub_rows(0, 50), executor);
  const auto before = index.seal(executor);
  for (const std::size_t after : {0U, 1U, 2U, 3U, 5U, 8U, 13U, 21U, 34U, 55U, 89U, 144U}) {
    bool refused = false;
    {
      const test::FailingAllocations failing(after);
      try {
        index.add(data_.view().sub_rows(50, 50), executor);
      } catch (const Error& error) {
        refused = error.code() == ErrorCode::kOutOfMemory;
      } catch (const std::bad_alloc&) {
        refused = true;  // no memory for the message either
      }
    }
    ASSERT_TRUE(refused) << after;
    ASSERT_EQ(index.size(), 50U);
    ASSERT_FALSE(index.contains(50));
    ASSERT_TRUE(test::same_parts(*before, *index.seal(executor))) << after;
  }
  index.add(data_.view().sub_rows(50, 50), executor);
  EXPECT_EQ(index.seal(executor)->size(), 100U);
}

TEST(VectorIndexOptions, EveryRange) {
  const auto make = [](std::size_t dim, auto change) {
    BuildOptions options;
    change(options);
    VectorIndex(dim, options);
  };
  const auto none = [](BuildOptions&) {};
  expect_error(ErrorCode::kInvalidArgument, "dimension is 0", [&] { make(0, none); });
  expect_error(ErrorCode::kInvalidArgument, "dimension is 65537", [&] { make(65537, none); });
  expect_error(ErrorCode::kInvalidArgument, "M is 1", [&] { make(4, [](auto& o) { o.M = 1; }); });
  expect_error(ErrorCode::kInvalidArgument, "M is 257",
               [&] { make(4, [](auto& o) { o.M = 257; }); });
  expect_error(ErrorCode::kInvalidArgument, "ef_construction is 0",
               [&] { make(4, [](auto& o) { o.ef_construction = 0; }); });
  expect_error(ErrorCode::kInvalidArgument, "metric number 9",
               [&] { make(4, [](auto& o) { o.metric = static_cast<Metric>(9); }); });
  make(65536, none);
}

TEST(VectorIndexOptions, TheExtremesOfMBuild) {
  const Matrix data = test::random_matrix(400, 5, 11);
  for (const std::size_t M : {2U, 3U, 256U}) {
    BuildOptions options;
    options.M = M;
    options.ef_construction = 1;
    const auto snapshot = test::snapshot_of(data, options);
    EXPECT_EQ(snapshot->unreachable_count(), 0U);
    EXPECT_EQ(snapshot->size(), 400U);
  }
}

TEST(VectorIndex, ResumesFromASnapshot) {
  const Matrix data = test::clustered_matrix(1200, 12, 9, 0.6F, 21);
  const Matrix queries = test::clustered_matrix(100, 12, 9, 0.6F, 22);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto first = test::snapshot_of(data.view().sub_rows(0, 800), metric);
    VectorIndex index = VectorIndex::resume(*first, executor, true);
    EXPECT_EQ(index.size(), 800U);
    EXPECT_EQ(index.options().metric, metric);
    EXPECT_EQ(index.options().M, 8U);
    EXPECT_EQ(index.options().ef_construction, 60U);
    EXPECT_TRUE(index.contains(799));
    // Nothing is lost: the same nodes with the same links under other numbers.
    const auto again = index.seal(executor);
    ASSERT_EQ(again->size(), 800U);
    for (Node node = 0; node < 800; ++node) {
      const Node now = again->find(first->id(node)).value();
      std::set<Id> before, after;
      for (const Node next : first->neighbours(node, 0)) before.insert(first->id(next));
      for (const Node next : again->neighbours(now, 0)) after.insert(again->id(next));
      // A repair's link beyond hnswlib's limit may go; the new seal repairs again.
      if (before.size() <= 16 && after.size() <= 16) {
        ASSERT_EQ(before, after);
      }
    }
    index.add(data.view().sub_rows(800, 400), executor);
    const auto grown = index.seal(executor);
    EXPECT_EQ(grown->size(), 1200U);
    EXPECT_EQ(grown->unreachable_count(), 0U);
    const auto whole = test::snapshot_of(data, metric);
    SearchOptions options;
    options.ef = 30;
    const auto recall = [&](const GraphSnapshot& snapshot) {
      return recall_at(10, search_batch(snapshot, queries, options, executor),
                       exact_search_batch(snapshot, queries, options, executor));
    };
    EXPECT_GT(recall(*grown), recall(*whole) - 0.02) << metric_name(metric);
  }
}

TEST(VectorIndex, ResumeKeepsTheNearestOfAnOverlongList) {
  const Matrix data = test::random_matrix(60, 4, 23);
  BuildOptions options = test::build_options(Metric::kL2);
  options.M = 2;
  SnapshotParts parts = test::copy_parts(*test::snapshot_of(data, options));
  LayerLinks& layer = parts.layers[0];
  LayerLinks full;
  full.nodes = layer.nodes;
  full.row_offsets.assign(1, 0);
  for (Node node = 0; node < 60; ++node) {
    for (Node next = 0; next < 60; ++next) {
      if (next != node) full.neighbours.push_back(next);
    }
    full.row_offsets.push_back(full.neighbours.size());
  }
  layer = full;
  const auto snapshot = GraphSnapshot::create(std::move(parts));
  const Executor executor(1);
  const auto again = VectorIndex::resume(*snapshot, executor).seal(executor);
  EXPECT_EQ(again->unreachable_count(), 0U);
  for (Node node = 0; node < 60; ++node) {
    EXPECT_LE(again->neighbours(node, 0).size(), 8U);  // 2 M, and what a repair adds
    EXPECT_GE(again->neighbours(node, 0).size(), 4U);
  }
}

TEST(VectorIndex, ResumeSurvivesEveryFailedAllocation) {
  const auto snapshot = test::snapshot_of(test::random_matrix(100, 4, 24));
  const Executor executor(1);
  std::size_t failures = 0;
  for (std::size_t after = 0;; ++after) {
    const test::FailingAllocations allocations(after);
    try {
      const VectorIndex index = VectorIndex::resume(*snapshot, executor);
      if (allocations.failed()) continue;
      break;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      ++failures;
    } catch (const std::bad_alloc&) {
      ++failures;
    }
  }
  EXPECT_GT(failures, 5U);
}

}  // namespace
}  // namespace halo
