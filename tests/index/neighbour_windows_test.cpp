#include "halo/index/neighbour_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "index/index_fixtures.h"

namespace halo {
namespace {

std::set<Node> two_hops(const GraphSnapshot& snapshot, Node node) {
  std::set<Node> nodes;
  for (const Node one : snapshot.neighbours(node, 0)) {
    nodes.insert(one);
    for (const Node two : snapshot.neighbours(one, 0)) nodes.insert(two);
  }
  nodes.erase(node);
  return nodes;
}

double distance(const GraphSnapshot& snapshot, Node a, Node b) {
  double dot = 0, l2 = 0;
  for (std::size_t j = 0; j < snapshot.dim(); ++j) {
    const double x = snapshot.vector(a)[j], y = snapshot.vector(b)[j];
    dot += x * y;
    l2 += (x - y) * (x - y);
  }
  return snapshot.metric() == Metric::kL2 ? l2 : 1 - dot;
}

TEST(NeighbourWindows, AreTheNearestOfTwoHops) {
  const Matrix data = test::clustered_matrix(700, 13, 10, 0.8F, 1);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = test::snapshot_of(data, metric);
    for (const std::size_t window : {1U, 8U, 33U}) {
      const CsrMask mask = neighbour_windows(*snapshot, window, executor);
      ASSERT_EQ(mask.rows(), snapshot->size());
      ASSERT_EQ(mask.num_columns(), snapshot->size());
      for (Node node = 0; node < snapshot->size(); ++node) {
        const std::set<Node> candidates = two_hops(*snapshot, node);
        const auto row = mask.row(node);
        ASSERT_EQ(row.size(), std::min(window, candidates.size()));
        double farthest_kept = -1e30;
        for (const Node kept : row) {
          ASSERT_TRUE(candidates.contains(kept));
          farthest_kept = std::max(farthest_kept, distance(*snapshot, node, kept));
        }
        for (const Node other : candidates) {
          if (std::binary_search(row.begin(), row.end(), other)) continue;
          ASSERT_GE(distance(*snapshot, node, other), farthest_kept - 1e-4);
        }
      }
    }
  }
}

TEST(NeighbourWindows, EqualDistancesKeepTheLowerNodes) {
  const Matrix data = Matrix::padded(30, 4);  // all the same vector
  const auto snapshot = test::snapshot_of(data);
  const CsrMask mask = neighbour_windows(*snapshot, 3, Executor(2));
  for (Node node = 0; node < snapshot->size(); ++node) {
    const std::set<Node> candidates = two_hops(*snapshot, node);
    std::vector<Node> expected(candidates.begin(), candidates.end());
    expected.resize(std::min<std::size_t>(3, expected.size()));
    const auto row = mask.row(node);
    EXPECT_EQ(std::vector<Node>(row.begin(), row.end()), expected);
  }
}

TEST(NeighbourWindows, TheSameAtAnyThreadCount) {
  const auto snapshot = test::snapshot_of(test::random_matrix(900, 7, 2));
  const CsrMask one = neighbour_windows(*snapshot, 12, Executor(1));
  EXPECT_EQ(one, neighbour_windows(*snapshot, 12, Executor(2)));
  EXPECT_EQ(one, neighbour_windows(*snapshot, 12, Executor(4)));
}

TEST(NeighbourWindows, OneVectorHasAnEmptyWindow) {
  const auto snapshot = test::snapshot_of(test::random_matrix(1, 3, 3));
  const CsrMask mask = neighbour_windows(*snapshot, 5, Executor(1));
  EXPECT_EQ(mask.rows(), 1U);
  EXPECT_EQ(mask.entries(), 0U);
}

TEST(NeighbourWindows, RefusesAnEmptyWindowAndStops) {
  const auto snapshot = test::snapshot_of(test::random_matrix(20, 3, 4));
  const Executor executor(1);
  test::expect_error(ErrorCode::kInvalidArgument, "window is 0",
                     [&] { neighbour_windows(*snapshot, 0, executor); });
  std::stop_source stop;
  stop.request_stop();
  test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    neighbour_windows(*snapshot, 4, executor, {nullptr, stop.get_token()});
  });
}

}  // namespace
}  // namespace halo
