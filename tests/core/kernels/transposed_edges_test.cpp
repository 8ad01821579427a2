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
  std::vector<std::vector<std::uint32_t>> rows(100);
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
      const std::size_t i = edges.rows[e], slab = TransposedEdges::slab_of(i);
      const auto row = mask.row(i);
      const auto entry = std::ranges::lower_bound(row, static_cast<std::uint32_t>(j));
      ASSERT_TRUE(entry != row.end() && *entry == j);
      const std::size_t at = mask.row_offsets()[i] + static_cast<std::size_t>(entry - row.begin());
      EXPECT_EQ(edges.places[e], mask.row_offsets()[slab] + edges.in_slab[at]);
    }
  }
}

// Every place is taken once, and those of a slab by columns, then rows: in the order of the edges.
TEST(TransposedEdges, KeepASlabInTheOrderOfItsColumns) {
  Random random(4);
  std::vector<std::vector<std::uint32_t>> rows(131);
  for (auto& row : rows) {
    for (std::size_t e = random.below(9); e > 0; --e) {
      row.push_back(static_cast<std::uint32_t>(random.below(50)));
    }
  }
  const CsrMask mask = CsrMask::from_rows(std::move(rows), 50);
  const TransposedEdges edges = transposed_edges(mask);
  std::vector<std::uint64_t> next;  // of every slab
  for (std::size_t i = 0; i < mask.rows(); i += TransposedEdges::kSlab) {
    next.push_back(mask.row_offsets()[i]);
  }
  for (std::size_t e = 0; e < edges.places.size(); ++e) {
    EXPECT_EQ(edges.places[e], next[edges.rows[e] / TransposedEdges::kSlab]++);
  }
  for (std::size_t s = 0; s < next.size(); ++s) {
    const std::size_t end = std::min(mask.rows(), (s + 1) * TransposedEdges::kSlab);
    EXPECT_EQ(next[s], mask.row_offsets()[end]);
  }
}

TEST(TransposedEdges, OfNothing) {
  const TransposedEdges edges = transposed_edges(CsrMask());
  EXPECT_EQ(edges.offsets, std::vector<std::uint64_t>{0});
  EXPECT_TRUE(edges.places.empty());
  EXPECT_TRUE(edges.in_slab.empty());
}

}  // namespace
}  // namespace halo::kernels
