#include "halo/index/recall.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo {
namespace {

SearchResults results_of(std::size_t k, const std::vector<std::vector<Node>>& rows) {
  SearchResults results;
  results.k = k;
  for (const auto& row : rows) {
    results.found.push_back(row.size());
    for (std::size_t i = 0; i < k; ++i) {
      results.neighbours.push_back({0.0F, i < row.size() ? row[i] : kNoNode});
    }
  }
  return results;
}

TEST(Recall, CountsTheCommonOnesOfTheFirstK) {
  const SearchResults exact = results_of(4, {{1, 2, 3, 4}, {5, 6, 7, 8}});
  EXPECT_DOUBLE_EQ(recall_at(4, exact, exact), 1.0);
  EXPECT_DOUBLE_EQ(recall_at(4, results_of(4, {{4, 9, 2, 8}, {8, 7, 6, 5}}), exact), 0.75);
  EXPECT_DOUBLE_EQ(recall_at(2, results_of(4, {{4, 1, 2, 8}, {8, 7, 6, 5}}), exact), 0.25);
  EXPECT_DOUBLE_EQ(recall_at(4, results_of(4, {{}, {}}), exact), 0.0);
}

TEST(Recall, FewerExactResultsAreTheWhole) {
  const SearchResults exact = results_of(3, {{1}, {}, {4, 5}});
  EXPECT_DOUBLE_EQ(recall_at(3, results_of(3, {{1}, {}, {5}}), exact), 0.75);
  EXPECT_DOUBLE_EQ(recall_at(3, results_of(3, {{}}), results_of(3, {{}})), 1.0);
}

TEST(Recall, RefusesWhatCannotBeCompared) {
  test::expect_error(ErrorCode::kInvalidArgument, "1 and 2 queries", [] {
    recall_at(1, results_of(1, {{1}}), results_of(1, {{1}, {2}}));
  });
  test::expect_error(ErrorCode::kInvalidArgument, "k is 0",
                     [] { recall_at(0, results_of(1, {{1}}), results_of(1, {{1}})); });
}

}  // namespace
}  // namespace halo
