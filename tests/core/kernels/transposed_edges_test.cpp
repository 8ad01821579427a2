#include "halo/core/kernels/transposed_edges.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "halo/core/random.h"

namespace halo::kernels {
namespace {

TEST(TransposedEdges, PointBack) {
  Random random(3);
  std::vector<std::vector<std::uint32_t>> rows(40);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t e = 0; e < i % 6; ++e) {
      rows[i].push_back(static_cast<std::uint32_t>(random.below(30)));
    }
  }
  const CsrMask mask = CsrMask::from_rows(std::move(rows), 30);
  const TransposedEdges edges = transposed_edges(mask);
  const CsrMask turned = mask.transposed();
  ASSERT_TRUE(std::ranges::equal(edges.offsets, turned.row_offsets()));
  ASSERT_TRUE(std::ranges::equal(edges.rows, turned.columns()));
  for (std::size_t j = 0; j < 30; ++j) {
    for (std::uint64_t e = edges.offsets[j]; e < edges.offsets[j + 1]; ++e) {
      EXPECT_EQ(mask.columns()[edges.edges[e]], j);
      EXPECT_GE(edges.edges[e], mask.row_offsets()[edges.rows[e]]);
      EXPECT_LT(edges.edges[e], mask.row_offsets()[edges.rows[e] + 1]);
    }
  }
}

TEST(TransposedEdges, OfNothing) {
  const TransposedEdges edges = transposed_edges(CsrMask());
  EXPECT_EQ(edges.offsets, std::vector<std::uint64_t>{0});
  EXPECT_TRUE(edges.edges.empty());
}

}  // namespace
}  // namespace halo::kernels
