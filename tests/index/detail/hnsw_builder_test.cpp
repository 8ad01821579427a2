#include "halo/index/detail/hnsw_builder.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <vector>

#include "halo/index/detail/metric_distance.h"
#include "support/failing_allocator.h"
#include "support/test_support.h"

namespace halo::detail {
namespace {

constexpr std::size_t kDim = 6, kOld = 120, kNew = 60;

// Everything a builder holds, to compare before and after.
struct State {
  explicit State(const HnswBuilder& builder) : size(builder.size()) {
    if (size == 0) return;
    entry = builder.entry_point();
    top = builder.top_layer();
    for (std::size_t row = 0; row < size; ++row) {
      vectors.insert(vectors.end(), builder.vector(row), builder.vector(row) + padded_width(kDim));
      for (std::size_t layer = 0; layer <= builder.level(row); ++layer) {
        const auto list = builder.links(row, layer);
        links.emplace_back(list.begin(), list.end());
      }
    }
  }
  bool operator==(const State&) const = default;
  std::size_t size = 0, top = 0;
  std::uint32_t entry = 0;
  std::vector<float> vectors;
  std::vector<std::vector<std::uint32_t>> links;
};

std::vector<std::uint8_t> some_levels(std::size_t n, std::uint8_t highest) {
  std::vector<std::uint8_t> levels(n, 0);
  for (std::size_t i = 0; i < n; ++i) {
    levels[i] = i % 4 == 1 ? 1 : i % 37 == 5 ? highest : std::uint8_t{0};
  }
  return levels;
}

class Insertion : public ::testing::TestWithParam<bool> {
 protected:
  Insertion() { builder_.insert(old_, some_levels(kOld, 2), true, executor_, {}); }
  void insert_new(const Job& job = {}) {
    builder_.insert(new_, some_levels(kNew, 4), GetParam(), executor_, job);
  }

  Matrix old_ = test::random_matrix(kOld, kDim, 1), new_ = test::random_matrix(kNew, kDim, 2);
  Executor executor_{2};
  HnswBuilder builder_{Metric::kL2, kDim, 4, 30};
};

// Stops a job when the given number of items was reported.
class StopAfter : public ProgressSink {
 public:
  explicit StopAfter(std::uint64_t items) : left_(static_cast<std::int64_t>(items)) {}
  void start(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t items) override {
    if ((left_ -= static_cast<std::int64_t>(items)) <= 0) source.request_stop();
  }
  void finish() override {}
  std::stop_source source;

 private:
  std::atomic<std::int64_t> left_;
};

TEST_P(Insertion, LinksAreWithinTheirLayerAndNeverToThemselves) {
  insert_new();
  ASSERT_EQ(builder_.size(), kOld + kNew);
  EXPECT_EQ(builder_.top_layer(), 4U);
  EXPECT_EQ(builder_.level(builder_.entry_point()), 4U);
  for (std::size_t row = 0; row < builder_.size(); ++row) {
    const float* expected = row < kOld ? old_.row(row) : new_.row(row - kOld);
    EXPECT_TRUE(std::equal(expected, expected + kDim, builder_.vector(row)));
    for (std::size_t layer = 0; layer <= builder_.level(row); ++layer) {
      EXPECT_LE(builder_.links(row, layer).size(), layer == 0 ? 8U : 4U);
      for (const std::uint32_t other : builder_.links(row, layer)) {
        ASSERT_LT(other, builder_.size());
        EXPECT_NE(other, row);
        EXPECT_GE(builder_.level(other), layer);
      }
    }
    EXPECT_FALSE(builder_.links(row, 0).empty());
  }
}

TEST_P(Insertion, AStopRestoresTheGraph) {
  const State before(builder_);
  for (const std::uint64_t items : {1U, 17U, 30U}) {
    // A builder each: ThreadSanitizer takes the locks of rows inserted again, in another order, for
    // an inversion, though the first insertion is long over.
    HnswBuilder builder(Metric::kL2, kDim, 4, 30);
    builder.insert(old_, some_levels(kOld, 2), true, executor_, {});
    StopAfter stop(items);
    test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
      builder.insert(new_, some_levels(kNew, 4), GetParam(), executor_,
                     {&stop, stop.source.get_token()});
    });
    EXPECT_EQ(State(builder), before) << items;
    // What was undone can be done again.
    builder.insert(new_, some_levels(kNew, 4), true, executor_, {});
    EXPECT_EQ(builder.size(), kOld + kNew);
  }
}

TEST_P(Insertion, ABadVectorRestoresTheGraph) {
  const State before(builder_);
  new_.row(kNew - 1)[2] = std::numeric_limits<float>::quiet_NaN();
  test::expect_error(ErrorCode::kNonFinite, "vector 59", [&] { insert_new(); });
  EXPECT_EQ(State(builder_), before);
}

TEST_P(Insertion, AFirstInsertionThatIsStoppedLeavesAnEmptyGraph) {
  HnswBuilder fresh(Metric::kL2, kDim, 4, 30);
  StopAfter stop(16);
  test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    fresh.insert(old_, some_levels(kOld, 2), GetParam(), executor_,
                 {&stop, stop.source.get_token()});
  });
  EXPECT_EQ(fresh.size(), 0U);
  fresh.insert(old_, some_levels(kOld, 2), true, executor_, {});
  EXPECT_EQ(State(fresh), State(builder_));
}

INSTANTIATE_TEST_SUITE_P(Orders, Insertion, ::testing::Values(true, false),
                         [](const auto& order) { return order.param ? "in_batches" : "parallel"; });

// Every allocation of an insertion fails once, in turn; then the same insertion succeeds.
TEST(InsertionOutOfMemory, EveryFailedAllocationRestoresTheGraph) {
  const Executor executor(1);
  const Matrix old_rows = test::random_matrix(40, kDim, 3), rows = test::random_matrix(6, kDim, 4);
  const std::vector<std::uint8_t> levels{0, 1, 0, 3, 0, 0};
  HnswBuilder builder(Metric::kL2, kDim, 3, 10);
  builder.insert(old_rows, some_levels(40, 2), true, executor, {});
  const State before(builder);
  std::size_t failures = 0;
  for (bool failed = true; failed; ++failures) {
    ErrorCode code = ErrorCode::kInternal;
    {
      const test::FailingAllocations failing(failures);
      try {
        builder.insert(rows, levels, true, executor, {});
      } catch (const Error& error) {
        code = error.code();
      } catch (const std::bad_alloc&) {
        code = ErrorCode::kOutOfMemory;  // no memory for the message either
      }
      failed = failing.failed();
    }
    if (failed) {
      ASSERT_EQ(code, ErrorCode::kOutOfMemory) << "allocation " << failures;
      ASSERT_EQ(State(builder), before) << "allocation " << failures;
    }
  }
  EXPECT_GT(failures, 30U);
  EXPECT_EQ(builder.size(), 46U);
}

TEST(InsertionSizes, GrowsFromOneToManyAndKeepsWhatItHas) {
  const Executor executor(2);
  const Matrix rows = test::random_matrix(200, kDim, 5);
  HnswBuilder builder(Metric::kCosine, kDim, 4, 20);
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    builder.insert(rows.view().sub_rows(i, 1), some_levels(1, 0), false, executor, {});
  }
  ASSERT_EQ(builder.size(), rows.rows());
  for (std::size_t i = 0; i < rows.rows(); ++i) {
    const float* v = builder.vector(i);
    EXPECT_NEAR(kernels::dot(v, v, padded_width(kDim)), 1.0F, 1e-5F);
    EXPECT_GT(kernels::dot(v, rows.row(i), kDim), 0.0F);
  }
}

}  // namespace
}  // namespace halo::detail
