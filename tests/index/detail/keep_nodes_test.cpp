#include "halo/index/detail/keep_nodes.h"

#include <gtest/gtest.h>

#include <set>

#include "halo/core/random.h"
#include "halo/index/detail/bits.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/index_fixtures.h"

namespace halo::detail {
namespace {

Bits random_bits(std::size_t size, double share, std::uint64_t seed) {
  Bits bits(words_for(size), 0);
  Random random(seed);
  for (std::size_t i = 0; i < size; ++i) {
    if (random.uniform() < share) set_bit(bits, i);
  }
  return bits;
}

TEST(KeepNodes, KeepsVectorsAndIdsOfExactlyThose) {
  const Matrix data = test::clustered_matrix(900, 11, 9, 0.6F, 1);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = test::snapshot_of(data, metric);
    const Bits kept = random_bits(900, 0.7, 2);
    const auto smaller = keep_nodes(*snapshot, kept, executor, {});
    std::size_t expected = 0;
    for (Node node = 0; node < 900; ++node) {
      const auto now = smaller->find(snapshot->id(node));
      ASSERT_EQ(now.has_value(), test_bit(kept, node));
      if (!now) continue;
      ++expected;
      EXPECT_TRUE(std::equal(snapshot->vector(node).begin(), snapshot->vector(node).end(),
                             smaller->vector(*now).begin()));
      EXPECT_EQ(snapshot->levels()[node], smaller->levels()[*now]);
    }
    EXPECT_EQ(smaller->size(), expected);
    EXPECT_EQ(smaller->unreachable_count(), 0U);
  }
}

TEST(KeepNodes, AllIsTheSame) {
  const Matrix data = test::clustered_matrix(300, 6, 4, 0.6F, 3);
  const auto snapshot = test::snapshot_of(data);
  const auto same = keep_nodes(*snapshot, Bits(words_for(300), ~0ULL), Executor(1), {});
  EXPECT_TRUE(test::same_parts(*snapshot, *same));
}

// hnswlib's own measure: recall after removing is that of an index built without the removed.
TEST(KeepNodes, RecallIsThatOfARebuild) {
  const Matrix data = test::clustered_matrix(4000, 24, 30, 1.0F, 4);
  const Matrix queries = test::clustered_matrix(200, 24, 30, 1.0F, 5);
  const Executor executor(2);
  const auto snapshot = test::snapshot_of(data);
  SearchOptions options;
  options.ef = 40;
  for (const double share : {0.9, 0.6}) {
    const Bits kept = random_bits(4000, share, 6);
    const auto smaller = keep_nodes(*snapshot, kept, executor, {});
    Matrix rows = Matrix::padded(smaller->size(), 24);
    for (Node node = 0; node < smaller->size(); ++node) {
      std::copy_n(smaller->vector(node).begin(), 24, rows.row(node));
    }
    const auto rebuilt = test::snapshot_of(rows);
    const auto recall = [&](const GraphSnapshot& index) {
      return recall_at(10, search_batch(index, queries, options, executor),
                       exact_search_batch(index, queries, options, executor));
    };
    EXPECT_GT(recall(*smaller), recall(*rebuilt) - 0.02) << share;
  }
}

TEST(KeepNodes, SameBytesAtAnyThreadCount) {
  const Matrix data = test::clustered_matrix(1500, 9, 9, 0.6F, 7);
  const auto snapshot = test::snapshot_of(data);
  const Bits kept = random_bits(1500, 0.5, 8);
  EXPECT_TRUE(test::same_parts(*keep_nodes(*snapshot, kept, Executor(1), {}),
                               *keep_nodes(*snapshot, kept, Executor(2), {})));
}

TEST(KeepNodes, OneNodeOfAnyLevelIsAnIndex) {
  const Matrix data = test::random_matrix(200, 3, 9);
  const auto snapshot = test::snapshot_of(data);
  for (Node node = 0; node < 200; ++node) {
    Bits kept(words_for(200), 0);
    set_bit(kept, node);
    const auto one = keep_nodes(*snapshot, kept, Executor(1), {});
    EXPECT_EQ(one->size(), 1U);
    EXPECT_EQ(one->id(0), snapshot->id(node));
    EXPECT_EQ(one->num_layers(), snapshot->levels()[node] + 1U);
  }
}

TEST(KeepNodes, Errors) {
  const auto snapshot = test::snapshot_of(test::random_matrix(50, 3, 10));
  test::expect_error(ErrorCode::kEmpty, "without vectors",
                     [&] { keep_nodes(*snapshot, Bits(1, 0), Executor(1), {}); });
  std::stop_source stop;
  stop.request_stop();
  test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    keep_nodes(*snapshot, Bits(1, ~0ULL), Executor(1), {nullptr, stop.get_token()});
  });
}

}  // namespace
}  // namespace halo::detail
