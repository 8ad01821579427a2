// Filtered searches by every plan (index/detail/filtered_walk.h).
#include <gtest/gtest.h>

#include <memory>
#include <set>

#include "halo/core/random.h"
#include "halo/index/detail/bits.h"
#include "halo/index/detail/filtered_walk.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using detail::FilterPlan;

Filter random_filter(std::size_t size, double share, std::uint64_t seed) {
  auto bits = std::make_shared<detail::Bits>(detail::words_for(size), 0);
  Random random(seed);
  for (std::size_t i = 0; i < size; ++i) {
    if (random.uniform() < share) detail::set_bit(*bits, i);
  }
  return Filter::of_bits(bits);
}

class FilteredPlans : public ::testing::TestWithParam<CodeKind> {
 protected:
  FilteredPlans() {
    BuildOptions build = test::build_options(Metric::kL2);
    build.codes = GetParam();
    snapshot_ = test::snapshot_of(data_, build);
  }
  FilterPlan plan(const Filter& filter, std::size_t ef) const {
    return detail::plan_filter(filter, detail::allowed_share(filter, snapshot_->size()),
                               snapshot_->size(), snapshot_->average_degree(0), snapshot_->M(), ef);
  }
  Matrix data_ = test::clustered_matrix(test::parallel_rows(8000), 16, 40, 0.8F, 1);
  Matrix queries_ = test::clustered_matrix(60, 16, 40, 0.8F, 2);
  std::shared_ptr<const GraphSnapshot> snapshot_;
  Executor executor_{2};
};

TEST_P(FilteredPlans, EveryShareFindsTheNearestAllowed) {
  std::set<FilterPlan> plans;
  for (const std::size_t ef : {10U, 48U}) {
    // A filter costs no recall worth the name.
    SearchOptions plain;
    plain.k = 5;
    plain.ef = ef;
    const double recall = recall_at(5, search_batch(*snapshot_, queries_, plain, executor_),
                                    exact_search_batch(*snapshot_, queries_, plain, executor_));
    for (const double share : {0.99, 0.9, 0.5, 0.2, 0.1, 0.05, 0.01, 0.002}) {
      SearchOptions options;
      options.k = 5;
      options.ef = ef;
      options.filter = random_filter(snapshot_->size(), share, 3);
      plans.insert(plan(options.filter, options.ef));
      const SearchResults exact = exact_search_batch(*snapshot_, queries_, options, executor_);
      const SearchResults found = search_batch(*snapshot_, queries_, options, executor_);
      EXPECT_EQ(found.found, exact.found) << share;
      for (std::size_t q = 0; q < queries_.rows(); ++q) {
        for (const Neighbour& n : found.of(q)) ASSERT_TRUE(options.filter.allows(n.node));
      }
      EXPECT_GE(recall_at(5, found, exact), recall - 0.05) << share << " at ef " << ef;
    }
  }
  if (!test::kThreadSanitizer) {
    EXPECT_EQ(plans.size(), 3U) << "every plan was tried";
  }
}

// What is allowed is far from what is asked: the first k nodes by distance from the far end.
TEST_P(FilteredPlans, AFilterAgainstTheQueryStillFindsK) {
  const float* query = queries_.row(0);
  SearchOptions options;
  options.k = snapshot_->size();
  options.ef = snapshot_->size();
  const auto order =
      exact_search_batch(*snapshot_, queries_.view().sub_rows(0, 1), options, executor_);
  for (const double share : {0.9, 0.5, 0.1, 0.02}) {
    auto bits = std::make_shared<detail::Bits>(detail::words_for(snapshot_->size()), 0);
    const auto allowed = static_cast<std::size_t>(share * static_cast<double>(snapshot_->size()));
    for (std::size_t i = snapshot_->size() - allowed; i < snapshot_->size(); ++i) {
      detail::set_bit(*bits, order.of(0)[i].node);
    }
    options.k = 10;
    options.ef = 32;
    options.filter = Filter::of_bits(bits);
    SearchScratch scratch;
    std::vector<Neighbour> out(10);
    EXPECT_EQ(search(*snapshot_, {query, 16}, options, scratch, out), 10U) << share;
    for (const Neighbour& n : out) EXPECT_TRUE(options.filter.allows(n.node));
  }
}

TEST_P(FilteredPlans, PredicatesAreEstimated) {
  const Filter tenth = Filter::of_predicate([](Node node) { return node % 10 == 0; });
  EXPECT_NEAR(detail::allowed_share(tenth, snapshot_->size()), 0.1, 0.06);
  const Filter bits = random_filter(snapshot_->size(), 0.3, 4);
  EXPECT_NEAR(detail::allowed_share(bits, snapshot_->size()), 0.3, 0.05);
  SearchOptions options;
  options.k = 5;
  options.filter = tenth;
  const SearchResults exact = exact_search_batch(*snapshot_, queries_, options, executor_);
  const SearchResults found = search_batch(*snapshot_, queries_, options, executor_);
  EXPECT_GE(recall_at(5, found, exact), 0.95);
}

INSTANTIATE_TEST_SUITE_P(Codes, FilteredPlans,
                         ::testing::Values(CodeKind::kF32, CodeKind::kInt8, CodeKind::kBf16),
                         [](const auto& test) { return std::string(code_kind_name(test.param)); });

}  // namespace
}  // namespace halo
