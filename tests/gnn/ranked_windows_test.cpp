#include "halo/gnn/ranked_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

CsrMask random_wide(std::size_t n, std::size_t most, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<std::uint32_t>> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    std::set<std::uint32_t> row;
    for (std::size_t e = random.below(most + 1); e > 0; --e) {
      const auto j = static_cast<std::uint32_t>(random.below(n));
      if (j != i) row.insert(j);
    }
    rows[i].assign(row.begin(), row.end());
  }
  return CsrMask::from_rows(std::move(rows), n);
}

TEST(RankedWindows, KeepTheMostSimilarNearestFirst) {
  const Matrix x = test::random_matrix(80, 12, 1);
  const CsrMask wide = random_wide(80, 20, 2);
  const RankedWindows windows = rank_windows(x, wide, 6, Executor(2));
  for (std::size_t i = 0; i < 80; ++i) {
    std::vector<std::pair<float, std::uint32_t>> all;
    for (const auto j : wide.view().row(i)) {
      all.emplace_back(-kernels::dot(x.row(i), x.row(j), 12), j);
    }
    std::sort(all.begin(), all.end());
    ASSERT_EQ(windows.row(i).size(), std::min<std::size_t>(6, all.size()));
    for (std::size_t e = 0; e < windows.row(i).size(); ++e) {
      EXPECT_EQ(windows.row(i)[e], all[e].second);
      EXPECT_EQ(windows.row_similarities(i)[e], -all[e].first);
    }
    EXPECT_LE(windows.row(i, 3).size(), 3U);
  }
  const CsrMask mask = mask_of(windows);
  for (std::size_t i = 0; i < 80; ++i) {
    std::vector<std::uint32_t> sorted(windows.row(i).begin(), windows.row(i).end());
    std::sort(sorted.begin(), sorted.end());
    EXPECT_TRUE(std::equal(sorted.begin(), sorted.end(), mask.view().row(i).begin(),
                           mask.view().row(i).end()));
  }
}

TEST(RankedWindows, TransitivityIsTheShareOfEdgesThatStayInside) {
  // Two cliques of 5: every edge of a window's member ends in the window, or at the node itself.
  std::vector<std::vector<std::uint32_t>> rows(10);
  for (std::uint32_t i = 0; i < 10; ++i) {
    for (std::uint32_t j = i / 5 * 5; j < i / 5 * 5 + 5; ++j) {
      if (j != i) rows[i].push_back(j);
    }
  }
  const Matrix x = test::random_matrix(10, 4, 1);
  const RankedWindows windows =
      rank_windows(x, CsrMask::from_rows(std::move(rows), 10), 4, Executor(1));
  EXPECT_DOUBLE_EQ(transitivity(windows, 4, 100, Executor(1)), 0.75);
  EXPECT_DOUBLE_EQ(transitivity(windows, 4, 3, Executor(2)), 0.75);
  const RankedWindows none = rank_windows(
      x, CsrMask::from_rows(std::vector<std::vector<std::uint32_t>>(10), 10), 4, Executor(1));
  EXPECT_EQ(transitivity(none, 4, 100, Executor(1)), 0.0);
}

}  // namespace
}  // namespace halo::gnn
