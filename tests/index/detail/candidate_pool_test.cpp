#include "halo/index/detail/candidate_pool.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include "halo/core/random.h"
#include "halo/index/detail/visited_set.h"

namespace halo::detail {
namespace {

TEST(CandidatePool, KeysOrderAsDistancesThenNodes) {
  const std::vector<float> distances{
      -std::numeric_limits<float>::max(), -3.5F, -1e-40F, 0.0F, 1e-40F, 2.0F,
      std::numeric_limits<float>::max()};
  const std::vector<Node> nodes{0, 1, 77, (1U << 31U) - 1};
  CandidateKey before = 0;
  for (const float distance : distances) {
    for (const Node node : nodes) {
      const CandidateKey key = candidate_key(distance, node);
      EXPECT_GT(key, before);
      before = key;
      EXPECT_EQ(distance_of(key), distance);
      EXPECT_EQ(node_of(key), node);
    }
  }
}

// The pool against a sorted list, for every limit.
TEST(CandidatePool, KeepsTheNearestInOrder) {
  for (const std::size_t limit : {1U, 2U, 3U, 7U, 64U, 200U}) {
    CandidatePool pool;
    pool.reset(limit);
    std::vector<std::pair<float, Node>> plain;
    Random random(limit);
    for (Node node = 0; node < 150; ++node) {
      const auto distance = static_cast<float>(static_cast<int>(random.uniform() * 40) - 20);
      plain.emplace_back(distance, node);
      std::sort(plain.begin(), plain.end());
      const auto at = std::find(plain.begin(), plain.end(), std::pair(distance, node));
      const auto place = static_cast<std::size_t>(at - plain.begin());
      EXPECT_EQ(pool.offer(distance, node), std::min(place, limit));
      if (plain.size() > limit) plain.pop_back();
      ASSERT_EQ(pool.size(), plain.size());
      for (std::size_t i = 0; i < plain.size(); ++i) {
        ASSERT_EQ(pool.distance(i), plain[i].first);
        ASSERT_EQ(pool.node(i), plain[i].second);
      }
    }
  }
}

TEST(CandidatePool, RemembersWhatWasExpanded) {
  CandidatePool pool;
  pool.reset(4);
  for (Node node = 0; node < 4; ++node) pool.offer(static_cast<float>(node), node);
  EXPECT_EQ(pool.expand(0), 0U);
  EXPECT_EQ(pool.expand(1), 1U);
  EXPECT_EQ(pool.next_unexpanded(0), 2U);
  EXPECT_EQ(pool.offer(0.5F, 9), 1U);  // pushes node 3 out
  EXPECT_EQ(pool.next_unexpanded(0), 1U);
  EXPECT_EQ(pool.node(2), 1U);
  EXPECT_EQ(pool.next_unexpanded(2), 3U);
  pool.expand(3);
  EXPECT_EQ(pool.next_unexpanded(2), pool.size());
}

TEST(VisitedSet, GivesEachNodeOnceAndForgets) {
  VisitedSet visited;
  Random random(5);
  for (const std::size_t size : {50U, 1000U, 200U}) {
    visited.start(size);
    EXPECT_EQ(visited.count(), 0U);
    std::set<Node> seen;
    for (int round = 0; round < 40; ++round) {
      std::vector<Node> row(1 + static_cast<std::size_t>(random.uniform() * 30)), expected;
      for (Node& node : row) node = static_cast<Node>(random.uniform() * static_cast<double>(size));
      for (const Node node : row) {
        if (seen.insert(node).second) expected.push_back(node);
      }
      const auto fresh = visited.visit(row);
      EXPECT_EQ(std::vector<Node>(fresh.begin(), fresh.end()), expected);
      EXPECT_EQ(visited.count(), seen.size());
    }
  }
}

}  // namespace
}  // namespace halo::detail
