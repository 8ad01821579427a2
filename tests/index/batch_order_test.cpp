#include "halo/index/batch_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "index/index_fixtures.h"

namespace halo {
namespace {

constexpr std::size_t kNodes = 3000, kDim = 20, kQueries = 300;

std::shared_ptr<const GraphSnapshot> snapshot(Metric metric) {
  return test::snapshot_of(test::clustered_matrix(kNodes, kDim, 40, 0.5F, 1), metric);
}

Matrix queries() { return test::clustered_matrix(kQueries, kDim, 40, 0.5F, 2); }

TEST(BatchOrder, HasEveryQueryOnceByTheStartsOfTheirWalks) {
  const auto index = snapshot(Metric::kL2);
  const Matrix asked = queries();
  const BatchOrder order(*index, asked, {}, Executor(2));
  std::vector<std::size_t> all(kQueries);
  for (std::size_t i = 0; i < kQueries; ++i) all[i] = order.query(i);
  for (std::size_t i = 0; i < kQueries; ++i) {
    ASSERT_LT(order.start(all[i]), kNodes);
    EXPECT_GT(index->levels()[order.start(all[i])], 0U);
    EXPECT_LE(order.start(all[i == 0 ? 0 : i - 1]), order.start(all[i]));
  }
  EXPECT_FALSE(std::is_sorted(all.begin(), all.end()));
  std::sort(all.begin(), all.end());
  std::vector<std::size_t> every(kQueries);
  std::iota(every.begin(), every.end(), 0U);
  EXPECT_EQ(all, every);
}

TEST(BatchOrder, ChangesNoResult) {
  const Matrix asked = queries();
  for (const Metric metric : test::kMetrics) {
    const auto index = snapshot(metric);
    auto bits =
        std::make_shared<std::vector<std::uint64_t>>((kNodes + 63) / 64, 0x7777777777777777U);
    for (const Filter& filter : {Filter(), Filter::of_bits(bits),
                                 Filter::of_predicate([](Node n) { return n % 3 != 0; })}) {
      const SearchOptions options{.k = 5, .ef = 20, .filter = filter};
      const SearchResults batch = search_batch(*index, asked, options, Executor(3));
      SearchScratch scratch;
      std::vector<Neighbour> alone(options.k);
      for (std::size_t q = 0; q < kQueries; ++q) {
        const std::size_t found = search(*index, asked.view().row_span(q), options, scratch, alone);
        const auto together = batch.of(q);
        ASSERT_EQ(found, together.size());
        EXPECT_TRUE(std::equal(together.begin(), together.end(), alone.begin())) << "query " << q;
      }
    }
  }
}

TEST(BatchOrder, KeepsTheOrderOfFewQueriesAndOfScans) {
  const auto index = snapshot(Metric::kCosine);
  const Matrix asked = queries();
  const Node some = 7;
  SearchOptions scanned;
  scanned.k = 1;
  const Id id = index->id(some);
  scanned.filter = Filter::of_ids(*index, std::span(&id, 1));
  const BatchOrder few(*index, asked.view().sub_rows(0, 20), {}, Executor(1));
  const BatchOrder scans(*index, asked, scanned, Executor(1));
  for (const BatchOrder* order : {&few, &scans}) {
    for (std::size_t i = 0; i < 20; ++i) {
      EXPECT_EQ(order->query(i), i);
      EXPECT_EQ(order->start(i), kNoNode);
    }
  }
}

TEST(BatchOrder, NoWalkBeginsOutsideTheIndex) {
  const auto index = snapshot(Metric::kL2);
  SearchScratch scratch;
  std::vector<Neighbour> out(10);
  const Matrix asked = queries();
  test::expect_error(ErrorCode::kInvalidArgument, "begin at node", [&] {
    search(*index, asked.view().row_span(0), {}, scratch, out, Node{kNodes});
  });
}

}  // namespace
}  // namespace halo
