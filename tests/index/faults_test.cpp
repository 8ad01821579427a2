// Every allocation of every operation fails once, in turn: what was refused changed nothing, and
// can be done afterwards.
#include <gtest/gtest.h>

#include <optional>
#include <set>

#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/node_order.h"
#include "halo/index/range_search.h"
#include "halo/index/search_cursor.h"
#include "index/index_fixtures.h"
#include "index/live_fixtures.h"
#include "support/failing_allocator.h"

namespace halo {
namespace {

using test::fail_each_allocation;
using test::ids_from;
using test::state_hash;

constexpr std::size_t kDim = 5;

class Faults : public ::testing::TestWithParam<CodeKind> {
 protected:
  Faults() {
    build_ = test::build_options(Metric::kL2);
    build_.M = 4;
    build_.ef_construction = 12;
    build_.codes = GetParam();
  }
  MatrixView rows(std::size_t first, std::size_t count) const {
    return data_.view().sub_rows(first, count);
  }
  // Some thousand attempts: a sanitizer follows fewer of them.
  test::FailEach each() const { return {test::kThreadSanitizer ? std::size_t{23} : 1}; }

  Matrix data_ = test::clustered_matrix(200, kDim, 6, 0.6F, 1);
  const Executor executor_{1};
  BuildOptions build_;
};

TEST_P(Faults, VectorIndexAdd) {
  for (const std::size_t old : {0U, 40U}) {
    std::optional<VectorIndex> index;
    const auto renew = [&] {
      index.emplace(kDim, build_);
      if (old != 0) index->add(rows(0, old), executor_);
    };
    renew();
    const std::uint64_t before = state_hash(*index);
    const std::size_t refused = fail_each_allocation(
        renew, [&] { index->add(rows(old, 20), executor_); },
        [&] {
          EXPECT_EQ(index->size(), old);
          EXPECT_FALSE(index->contains(static_cast<Id>(old)));
          EXPECT_EQ(state_hash(*index), before);
        },
        each());
    EXPECT_GT(refused, test::kThreadSanitizer ? 5U : 100U);
    // Refused any number of times, then done: as if done at once.
    VectorIndex fresh(kDim, build_);
    if (old != 0) fresh.add(rows(0, old), executor_);
    fresh.add(rows(old, 20), executor_);
    EXPECT_EQ(state_hash(*index), state_hash(fresh));
  }
}

TEST_P(Faults, VectorIndexMakingSealingAndResuming) {
  VectorIndex index(kDim, build_);
  index.add(rows(0, 60), executor_);
  const std::uint64_t before = state_hash(index);
  std::shared_ptr<const GraphSnapshot> sealed;
  const auto nothing = [] {};
  EXPECT_GT(fail_each_allocation(
                nothing, [&] { sealed = index.seal(executor_); },
                [&] { EXPECT_EQ(state_hash(index), before); }, each()),
            test::kThreadSanitizer ? 1U : 30U);
  EXPECT_GT(fail_each_allocation(
                nothing, [&] { VectorIndex(kDim, build_); }, nothing),
            3U);
  std::optional<VectorIndex> resumed;
  EXPECT_GT(fail_each_allocation(
                nothing, [&] { resumed.emplace(VectorIndex::resume(*sealed, executor_, true)); },
                nothing, each()),
            test::kThreadSanitizer ? 1U : 60U);
  EXPECT_EQ(resumed->size(), 60U);
  EXPECT_EQ(resumed->seal(executor_)->unreachable_count(), 0U);
}

TEST_P(Faults, SnapshotMaking) {
  const auto whole = test::snapshot_of(rows(0, 60), build_);
  const std::uint64_t expected = state_hash(*whole);
  std::optional<SnapshotParts> parts;
  std::shared_ptr<const GraphSnapshot> made;
  const auto copy = [&] { parts.emplace(test::copy_parts(*whole)); };
  // The parts are gone with the refusal: they were handed over.
  const std::size_t refused = fail_each_allocation(
      copy, [&] { made = GraphSnapshot::create(std::move(*parts), GetParam()); }, copy, each());
  EXPECT_GT(refused, test::kThreadSanitizer ? 0U : 10U);
  EXPECT_EQ(state_hash(*made), expected);
  const auto unchanged = [&] { EXPECT_EQ(state_hash(*whole), expected); };
  for (const CodeKind kind : {CodeKind::kF32, CodeKind::kBf16, CodeKind::kInt8}) {
    fail_each_allocation([] {}, [&] { made = whole->with_codes(kind); }, unchanged, each());
    EXPECT_EQ(made->codes().kind(), kind);
  }
  if (GetParam() == CodeKind::kF32) return;
  fail_each_allocation([] {}, [&] { made = whole->without_vectors(); }, unchanged, each());
  EXPECT_FALSE(made->has_vectors());
}

// add, update, remove and seal, each on an index with a sealed part, a linked delta and a tail.
TEST_P(Faults, LiveIndexWritesAndSeals) {
  constexpr Id kIds = 400;
  LiveOptions options = test::live_options();
  options.build = build_;
  options.scanned_tail = 8;
  std::optional<LiveIndex> index;
  const auto renew = [&] {
    index.reset();
    index.emplace(kDim, options);
    index->add(rows(0, 40), ids_from(0, 40));
    index->seal(executor_);
    index->add(rows(40, 30), ids_from(100, 30));
    index->remove(std::vector<Id>{3, 104});
  };
  const std::vector<Id> added = ids_from(200, 20), updated{7, 110, 8}, removed{9, 111, 12};
  const std::vector<std::pair<const char*, std::function<void()>>> operations = {
      {"add", [&] { index->add(rows(80, 20), added); }},
      {"update", [&] { index->update(rows(80, 3), updated); }},
      {"remove", [&] { index->remove(removed); }},
      {"seal", [&] { index->seal(executor_); }},
  };
  renew();
  const std::uint64_t before = state_hash(*index, kIds);
  for (const auto& [name, operation] : operations) {
    const std::size_t refused = fail_each_allocation(
        renew, operation, [&] { ASSERT_EQ(state_hash(*index, kIds), before) << name; }, each());
    EXPECT_GT(refused, test::kThreadSanitizer ? 0U : 8U) << name;
    // What was done in the end is what is done at once.
    const std::uint64_t after = state_hash(*index, kIds);
    renew();
    operation();
    EXPECT_EQ(state_hash(*index, kIds), after) << name;
  }
  EXPECT_GT(fail_each_allocation([] {}, [&] { LiveIndex(kDim, options); }, [] {}), 5U);
}

// Searches leave nothing behind, not in the caller's scratch either.
TEST_P(Faults, Searches) {
  const auto snapshot = test::snapshot_of(data_, build_);
  const auto query = data_.row_span(3);
  LiveIndex live(snapshot, test::live_options());
  live.add(rows(0, 30), ids_from(1000, 30));
  live.remove(std::vector<Id>{5, 1003});
  const LiveView view = live.view();

  SearchOptions options{7, 20, {}};
  SearchOptions filtered = options;
  filtered.filter = Filter::of_predicate([](Node node) { return node % 5 != 1; });
  RangeOptions range;
  range.radius = 2;
  std::vector<Neighbour> out(7);
  std::vector<LiveNeighbour> live_out(7);
  std::optional<SearchScratch> scratch;
  std::optional<LiveScratch> live_scratch;
  const auto renew = [&] {
    scratch.emplace();
    live_scratch.emplace();
  };
  // Each answers into a hash.
  const auto hash_of = [](const auto& results) {
    test::StateHash hash;
    for (const auto& result : results) hash.bytes(&result.distance, sizeof(float));
    return hash.value();
  };
  std::uint64_t answer = 0;
  const std::vector<std::pair<const char*, std::function<void()>>> searches = {
      {"search",
       [&] {
         search(*snapshot, query, options, *scratch, out);
         answer = hash_of(out);
       }},
      {"filtered",
       [&] {
         search(*snapshot, query, filtered, *scratch, out);
         answer = hash_of(out);
       }},
      {"exact",
       [&] {
         exact_search(*snapshot, query, options, out);
         answer = hash_of(out);
       }},
      {"batch",
       [&] {
         answer = hash_of(search_batch(*snapshot, rows(0, 9), options, executor_).neighbours);
       }},
      {"exact batch",
       [&] {
         answer = hash_of(exact_search_batch(*snapshot, rows(0, 9), options, executor_).neighbours);
       }},
      {"range", [&] { answer = hash_of(range_search(snapshot, query, range)); }},
      {"exact range", [&] { answer = hash_of(exact_range_search(snapshot, query, range)); }},
      {"range batch",
       [&] {
         answer = hash_of(range_search_batch(snapshot, rows(0, 9), range, executor_).neighbours);
       }},
      {"live",
       [&] {
         view.search(query, {7, 20, {}}, *live_scratch, live_out);
         answer = hash_of(live_out);
       }},
      {"live, filtered",
       [&] {
         view.search(query, {7, 20, [](Id id) { return id % 3 != 0; }}, *live_scratch, live_out);
         answer = hash_of(live_out);
       }},
      {"live, exact",
       [&] {
         view.exact_search(query, {7, 20, {}}, *live_scratch, live_out);
         answer = hash_of(live_out);
       }},
      {"live batch",
       [&] {
         answer = hash_of(view.search_batch(rows(0, 9), {7, 20, {}}, executor_).neighbours);
       }},
  };
  for (const auto& [name, run] : searches) {
    renew();
    run();
    const std::uint64_t expected = answer;
    const std::size_t refused = fail_each_allocation(
        renew, run, [] {}, each());
    EXPECT_GT(refused, 0U) << name;
    EXPECT_EQ(answer, expected) << name << " after it was refused " << refused << " times";
  }
}

TEST_P(Faults, ACursorGoesOnAfterARefusedPage) {
  const auto snapshot = test::snapshot_of(data_, build_);
  const SearchOptions options{1, 16, {}};
  std::vector<Neighbour> page(9), expected;
  SearchCursor whole(snapshot, data_.row_span(3), options);
  for (std::size_t found = 0; (found = whole.next(page)) != 0;) {
    expected.insert(expected.end(), page.begin(),
                    page.begin() + static_cast<std::ptrdiff_t>(found));
  }
  ASSERT_EQ(expected.size(), snapshot->size());
  std::optional<SearchCursor> cursor;
  std::size_t before = 0;
  const auto renew = [&] {
    cursor.emplace(snapshot, data_.row_span(3), options);
    before = 0;
  };
  // Pages to the end, the n-th allocation of each failing.
  std::size_t refused = 0;
  for (std::size_t n = 0; n < 12; ++n) {
    renew();
    std::vector<Neighbour> all;
    for (std::size_t found = 1; found != 0;) {
      try {
        const test::FailingAllocations failing(n, test::Failing::kOnce);
        found = cursor->next(page);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
        ++refused;
        EXPECT_EQ(cursor->returned(), all.size());
        found = cursor->next(page);
      }
      all.insert(all.end(), page.begin(), page.begin() + static_cast<std::ptrdiff_t>(found));
    }
    std::set<Node> nodes;
    for (const Neighbour& one : all) nodes.insert(one.node);
    EXPECT_EQ(nodes.size(), snapshot->size()) << "every node once, whatever failed: " << n;
    EXPECT_EQ(all.size(), snapshot->size());
  }
  EXPECT_GT(refused, 5U);
  EXPECT_GT(fail_each_allocation([] {}, renew, [] {}), 5U);
}

TEST_P(Faults, WindowsAndOrders) {
  const auto snapshot = test::snapshot_of(data_, build_);
  const CsrMask expected = neighbour_windows(*snapshot, 6, executor_);
  CsrMask windows;
  std::vector<Node> window;
  std::vector<std::uint32_t> order;
  const auto nothing = [] {};
  EXPECT_GT(
      fail_each_allocation(
          nothing, [&] { windows = neighbour_windows(*snapshot, 6, executor_); }, nothing, each()),
      test::kThreadSanitizer ? 0U : 5U);
  EXPECT_EQ(windows, expected);
  EXPECT_GT(fail_each_allocation(
                nothing, [&] { window = neighbour_window(*snapshot, 3, 6); }, nothing, each()),
            test::kThreadSanitizer ? 0U : 3U);
  EXPECT_TRUE(std::equal(window.begin(), window.end(), expected.row(3).begin()));
  EXPECT_GT(
      fail_each_allocation(
          nothing, [&] { order = reverse_cuthill_mckee(snapshot->edges(0)); }, nothing, each()),
      test::kThreadSanitizer ? 0U : 5U);
  EXPECT_EQ(order.size(), snapshot->size());
}

INSTANTIATE_TEST_SUITE_P(Codes, Faults,
                         ::testing::Values(CodeKind::kF32, CodeKind::kBf16, CodeKind::kInt8),
                         [](const auto& test) { return std::string(code_kind_name(test.param)); });

}  // namespace
}  // namespace halo
