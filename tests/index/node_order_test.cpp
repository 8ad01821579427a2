#include "halo/index/node_order.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "halo/core/random.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

std::vector<std::uint32_t> identity(std::size_t n) {
  std::vector<std::uint32_t> order(n);
  std::iota(order.begin(), order.end(), 0U);
  return order;
}

std::size_t bandwidth(const CsrView& links, const std::vector<std::uint32_t>& order) {
  std::vector<std::size_t> position(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
  std::size_t widest = 0;
  for (std::size_t i = 0; i < links.rows(); ++i) {
    for (const std::uint32_t j : links.row(i)) {
      widest = std::max(widest, position[i] > position[j] ? position[i] - position[j]
                                                          : position[j] - position[i]);
    }
  }
  return widest;
}

TEST(NodeOrder, IsAPermutationOfAnyGraph) {
  Random random(1);
  for (const std::size_t n : {1U, 2U, 17U, 300U}) {
    for (const std::size_t links : {std::size_t{0}, n / 3, 4 * n}) {
      std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
      for (std::size_t i = 0; i < links; ++i) {
        pairs.emplace_back(random.below(n), random.below(n));
      }
      const CsrMask mask = CsrMask::from_pairs(n, n, pairs);
      std::vector<std::uint32_t> order = reverse_cuthill_mckee(mask);
      EXPECT_EQ(order, reverse_cuthill_mckee(mask));
      std::sort(order.begin(), order.end());
      EXPECT_EQ(order, identity(n));
    }
  }
}

TEST(NodeOrder, APathWithShuffledNamesGetsBandwidthOne) {
  constexpr std::size_t kNodes = 200;
  std::vector<std::uint32_t> names = identity(kNodes);
  Random random(2);
  std::shuffle(names.begin(), names.end(), random);
  // One direction only: the order is that of the undirected graph.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (std::size_t i = 1; i < kNodes; ++i) pairs.emplace_back(names[i - 1], names[i]);
  const CsrMask mask = CsrMask::from_pairs(kNodes, kNodes, pairs);
  EXPECT_GT(bandwidth(mask, identity(kNodes)), 50U);
  EXPECT_EQ(bandwidth(mask, reverse_cuthill_mckee(mask)), 1U);
}

TEST(NodeOrder, AGridWithShuffledNamesGetsNearItsSide) {
  constexpr std::uint32_t kSide = 16;
  std::vector<std::uint32_t> names = identity(kSide * kSide);
  Random random(3);
  std::shuffle(names.begin(), names.end(), random);
  std::vector<std::pair<std::uint32_t, std::uint32_t>> pairs;
  for (std::uint32_t y = 0; y < kSide; ++y) {
    for (std::uint32_t x = 0; x < kSide; ++x) {
      if (x + 1 < kSide) pairs.emplace_back(names[y * kSide + x], names[y * kSide + x + 1]);
      if (y + 1 < kSide) pairs.emplace_back(names[y * kSide + x], names[(y + 1) * kSide + x]);
    }
  }
  const CsrMask mask = CsrMask::from_pairs(names.size(), names.size(), pairs);
  EXPECT_LE(bandwidth(mask, reverse_cuthill_mckee(mask)), 2 * kSide);
}

TEST(NodeOrder, SealedNeighboursAreNear) {
  const Matrix data = test::clustered_matrix(2000, 8, 40, 0.1F, 4);
  const auto snapshot = test::snapshot_of(data);
  std::vector<std::uint32_t> insertion(snapshot->size());
  for (Node node = 0; node < snapshot->size(); ++node) {
    insertion[static_cast<std::size_t>(snapshot->id(node))] = node;
  }
  const CsrView links = snapshot->edges(0);
  EXPECT_LT(mean_link_length(links, identity(snapshot->size())),
            0.7 * mean_link_length(links, insertion));
}

TEST(NodeOrder, LinkLengthOfNoLinksIsZero) {
  EXPECT_EQ(mean_link_length(CsrMask::from_rows({{}, {}}, 2), {1, 0}), 0.0);
}

}  // namespace
}  // namespace halo
