#include "halo/index/live_view.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>

#include "index/live_fixtures.h"

namespace halo {
namespace {

using test::expect_error;
using test::live_options;
using test::live_search;

class LiveViewTest : public ::testing::Test {
 protected:
  LiveViewTest() : data_(test::clustered_matrix(500, 6, 5, 0.6F, 1)), index_(6, live_options()) {
    std::vector<Id> ids(500);
    std::iota(ids.begin(), ids.end(), 0);
    index_.add(data_.view().sub_rows(0, 300), std::span(ids).first(300));
    index_.seal(Executor(1));
    index_.add(data_.view().sub_rows(300, 200), std::span(ids).subspan(300));
  }
  Matrix data_;
  LiveIndex index_;
};

TEST_F(LiveViewTest, FiltersByIdInBothParts) {
  LiveSearchOptions options;
  options.k = 12;
  options.filter = [](Id id) { return id % 40 == 3; };  // 13 of them
  for (std::size_t q = 0; q < 50; ++q) {
    const auto exact = live_search(index_.view(), data_.row_span(q), options, true);
    ASSERT_EQ(exact.size(), 12U);
    const auto found = live_search(index_.view(), data_.row_span(q), options);
    ASSERT_EQ(found.size(), 12U);
    for (std::size_t i = 0; i < 12; ++i) {
      EXPECT_EQ(exact[i].id % 40, 3);
      EXPECT_EQ(found[i].id % 40, 3);
      EXPECT_NEAR(found[i].distance, exact[i].distance, 1e-4 * (1 + exact[i].distance));
    }
  }
  options.k = 100;
  EXPECT_EQ(live_search(index_.view(), data_.row_span(0), options).size(), 13U);
  options.filter = [](Id) { return false; };
  EXPECT_TRUE(live_search(index_.view(), data_.row_span(0), options).empty());
}

TEST_F(LiveViewTest, AsManyAsLiveWhereMoreAreWanted) {
  LiveSearchOptions options;
  options.k = 1000;
  options.ef = 1;
  const auto all = live_search(index_.view(), data_.row_span(0), options);
  EXPECT_EQ(all.size(), 500U);
  const LiveResults batch = index_.view().search_batch(data_, options, Executor(2));
  EXPECT_EQ(batch.k, 500U);
  EXPECT_EQ(batch.found, std::vector<std::size_t>(500, 500));
}

// What came lately is a small part of the index, and all that is near these queries.
TEST(LiveView, ANewTopicIsFoundAsAnOldOneIs) {
  constexpr std::size_t kDim = 32, kOld = 8000, kNew = 800;
  const Matrix old_ones = test::random_matrix(kOld, kDim, 3);
  Matrix new_ones = test::random_matrix(kNew, kDim, 4);
  for (std::size_t i = 0; i < kNew; ++i) new_ones.row(i)[0] += 20;
  LiveIndex index(kDim, live_options());
  std::vector<Id> ids(kOld + kNew), removed;
  std::iota(ids.begin(), ids.end(), 0);
  index.add(old_ones, std::span(ids).first(kOld));
  index.seal(Executor(1));
  index.add(new_ones, std::span(ids).subspan(kOld));
  for (Id id = kOld; id < static_cast<Id>(ids.size()); id += 5) removed.push_back(id);
  index.remove(removed);
  LiveSearchOptions options;
  options.ef = 128;
  std::size_t hits = 0, wanted = 0;
  for (std::size_t q = 0; q < 200; ++q) {
    const auto exact = live_search(index.view(), new_ones.row_span(q), options, true);
    for (const auto& found : live_search(index.view(), new_ones.row_span(q), options)) {
      hits += found.distance <= exact.back().distance ? 1 : 0;
    }
    wanted += exact.size();
  }
  EXPECT_GE(static_cast<double>(hits), 0.99 * static_cast<double>(wanted));
  printf("%f\n", double(hits) / double(wanted));
}

TEST_F(LiveViewTest, BatchEqualsSingleSearchesAtAnyThreadCount) {
  LiveSearchOptions options;
  options.k = 5;
  const LiveView view = index_.view();
  for (const std::size_t threads : {1U, 2U}) {
    const LiveResults batch = view.search_batch(data_, options, Executor(threads));
    for (std::size_t q = 0; q < 500; ++q) {
      const auto one = live_search(view, data_.row_span(q), options);
      EXPECT_TRUE(std::equal(one.begin(), one.end(), batch.of(q).begin(), batch.of(q).end()));
    }
  }
}

TEST_F(LiveViewTest, NothingLivesAndNothingIsFound) {
  const LiveIndex empty(6, live_options());
  const LiveView view = empty.view();
  EXPECT_EQ(view.size(), 0U);
  EXPECT_FALSE(view.contains(0));
  EXPECT_FALSE(view.vector(0).has_value());
  EXPECT_TRUE(live_search(view, data_.row_span(0), {}).empty());
  const LiveResults batch = view.search_batch(data_.view().sub_rows(0, 3), {}, Executor(1));
  EXPECT_EQ(batch.found, std::vector<std::size_t>(3, 0));
  EXPECT_EQ(batch.neighbours[0].id, -1);
}

TEST_F(LiveViewTest, Errors) {
  const LiveView view = index_.view();
  LiveSearchOptions options;
  options.k = 0;
  expect_error(ErrorCode::kInvalidArgument, "k is 0",
               [&] { live_search(view, data_.row_span(0), options); });
  expect_error(ErrorCode::kInvalidArgument, "k is 0",
               [&] { view.search_batch(data_, options, Executor(1)); });
  options = {};
  options.ef = 0;
  expect_error(ErrorCode::kInvalidArgument, "ef is 0",
               [&] { live_search(view, data_.row_span(0), options); });
  expect_error(ErrorCode::kDimensionMismatch, "5 floats",
               [&] { live_search(view, data_.row_span(0).first(5), {}); });
  std::vector<float> bad(6, std::numeric_limits<float>::quiet_NaN());
  expect_error(ErrorCode::kNonFinite, "query", [&] { live_search(view, bad, {}); });
  LiveScratch scratch;
  std::vector<LiveNeighbour> out(9);
  expect_error(ErrorCode::kInvalidArgument, "room for 9",
               [&] { view.search(data_.row_span(0), {}, scratch, out); });
  std::stop_source stop;
  stop.request_stop();
  expect_error(ErrorCode::kCancelled, "stopped", [&] {
    view.search_batch(data_, {}, Executor(1), {nullptr, stop.get_token()});
  });
}

}  // namespace
}  // namespace halo
