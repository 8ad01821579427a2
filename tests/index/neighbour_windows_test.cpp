#include "halo/index/neighbour_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <set>

#include "halo/index/exact_search.h"
#include "halo/index/vector_index.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

double distance(const GraphSnapshot& snapshot, Node a, Node b) {
  double dot = 0, l2 = 0;
  for (std::size_t j = 0; j < snapshot.dim(); ++j) {
    const double x = snapshot.vector(a)[j], y = snapshot.vector(b)[j];
    dot += x * y;
    l2 += (x - y) * (x - y);
  }
  return snapshot.metric() == Metric::kL2 ? l2 : 1 - dot;
}

TEST(NeighbourWindows, AreClosedUnderTheLinksOfTheirMembers) {
  const Matrix data = test::clustered_matrix(700, 13, 10, 0.8F, 1);
  const Executor executor(2);
  for (const Metric metric : {Metric::kL2, Metric::kCosine}) {
    const auto snapshot = test::snapshot_of(data, metric);
    for (const std::size_t window : {1U, 8U, 33U}) {
      const CsrMask mask = neighbour_windows(*snapshot, window, executor);
      ASSERT_EQ(mask.rows(), snapshot->size());
      ASSERT_EQ(mask.num_columns(), snapshot->size());
      for (Node node = 0; node < snapshot->size(); ++node) {
        const auto row = mask.row(node);
        ASSERT_EQ(row.size(), window);
        double farthest = -1e30;
        std::set<Node> candidates;
        for (const Node next : snapshot->neighbours(node, 0)) candidates.insert(next);
        for (const Node member : row) {
          ASSERT_NE(member, node);
          farthest = std::max(farthest, distance(*snapshot, node, member));
          for (const Node next : snapshot->neighbours(member, 0)) candidates.insert(next);
        }
        candidates.erase(node);
        for (const Node other : candidates) {
          if (std::binary_search(row.begin(), row.end(), other)) continue;
          ASSERT_GE(distance(*snapshot, node, other), farthest - 1e-4);
        }
      }
    }
  }
}

TEST(NeighbourWindows, HoldNearlyAllOfTheTrueNearest) {
  const Matrix data = test::clustered_matrix(1500, 16, 30, 0.6F, 5);
  const Executor executor(2);
  for (const Metric metric : test::kMetrics) {
    const auto snapshot = test::snapshot_of(data, metric);
    constexpr std::size_t kWindow = 20;
    const CsrMask mask = neighbour_windows(*snapshot, kWindow, executor);
    SearchOptions options;
    options.k = kWindow + 1;
    const SearchResults exact =
        exact_search_batch(*snapshot, snapshot->vectors(), options, executor);
    std::size_t found = 0, total = 0;
    for (Node node = 0; node < snapshot->size(); ++node) {
      std::size_t taken = 0;
      for (const Neighbour& neighbour : exact.of(node)) {
        if (neighbour.node == node || taken++ == kWindow) continue;
        ++total;
        found += mask.contains(node, neighbour.node) ? 1 : 0;
      }
    }
    EXPECT_GT(static_cast<double>(found), 0.9 * static_cast<double>(total)) << metric_name(metric);
  }
}

TEST(NeighbourWindows, ReachAlongAChainOfFewLinks) {
  // Points on a circle: links go to the next few, so a wide window needs more than two hops.
  Matrix circle = Matrix::padded(400, 2);
  for (std::size_t i = 0; i < 400; ++i) {
    circle.row(i)[0] =
        static_cast<float>(std::cos(2 * std::numbers::pi * static_cast<double>(i) / 400));
    circle.row(i)[1] =
        static_cast<float>(std::sin(2 * std::numbers::pi * static_cast<double>(i) / 400));
  }
  BuildOptions options;
  options.M = 2;
  VectorIndex index(2, options);
  index.add(circle, Executor(1));
  const auto snapshot = index.seal(Executor(1));
  const CsrMask mask = neighbour_windows(*snapshot, 30, Executor(1));
  for (Node node = 0; node < 400; ++node) {
    ASSERT_EQ(mask.row(node).size(), 30U);
    for (const Node member : mask.row(node)) {
      const auto gap = std::abs(snapshot->id(node) - snapshot->id(member));
      EXPECT_LE(std::min(gap, 400 - gap), 16);
    }
  }
}

TEST(NeighbourWindows, TheSameAtAnyThreadCount) {
  const auto snapshot = test::snapshot_of(test::random_matrix(900, 7, 2));
  const CsrMask one = neighbour_windows(*snapshot, 12, Executor(1));
  EXPECT_EQ(one, neighbour_windows(*snapshot, 12, Executor(2)));
  EXPECT_EQ(one, neighbour_windows(*snapshot, 12, Executor(4)));
}

TEST(NeighbourWindows, OneNodesWindowIsItsRow) {
  const auto snapshot = test::snapshot_of(test::random_matrix(300, 6, 4));
  const CsrMask mask = neighbour_windows(*snapshot, 9, Executor(2));
  for (Node node = 0; node < 300; ++node) {
    const auto row = mask.row(node);
    EXPECT_EQ(neighbour_window(*snapshot, node, 9), std::vector<Node>(row.begin(), row.end()));
  }
  test::expect_error(ErrorCode::kUnknownId, "node 300",
                     [&] { neighbour_window(*snapshot, 300, 9); });
  test::expect_error(ErrorCode::kInvalidArgument, "window is 0",
                     [&] { neighbour_window(*snapshot, 1, 0); });
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
