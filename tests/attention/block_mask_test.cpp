#include "halo/attention/block_mask.h"

#include <gtest/gtest.h>

#include <limits>

#include "attention_test_support.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

using test::expect_error;
using Rows = std::vector<std::vector<std::uint32_t>>;

TEST(BlockMask, HoldsWholeBlocksCutToTheSequence) {
  const BlockMask mask(7, 3, CsrMask::from_rows({{0}, {0, 2}, {}}, 3));
  EXPECT_EQ(mask.entries(), 9U + 9U + 3U);
  EXPECT_DOUBLE_EQ(mask.density(), 21.0 / 49.0);
  EXPECT_EQ(
      mask.to_csr(),
      CsrMask::from_rows(
          {{0, 1, 2}, {0, 1, 2}, {0, 1, 2}, {0, 1, 2, 6}, {0, 1, 2, 6}, {0, 1, 2, 6}, {}}, 7));
}

TEST(BlockMask, CoversAMaskAndNoBlockMore) {
  const CsrMask entries = SparseMask::random(50, 0.02, 3);
  const BlockMask cover = BlockMask::covering(entries, 8);
  const CsrMask all = cover.to_csr();
  EXPECT_EQ(CsrMask::union_of(all, entries), all);
  for (std::size_t b = 0; b < 7; ++b) {
    for (const std::uint32_t c : cover.blocks().row(b)) {
      bool used = false;
      for (std::size_t i = 8 * b; i < std::min<std::size_t>(50, 8 * b + 8); ++i) {
        for (const std::uint32_t j : entries.row(i)) used = used || j / 8 == c;
      }
      EXPECT_TRUE(used) << b << ", " << c;
    }
  }
}

TEST(BlockMask, OfLayersIsABandAndTheBlocksOfUpperNodes) {
  const BlockMask mask = BlockMask::from_layers(20, 4, 1, Rows{{17, 2}, {17}});
  EXPECT_EQ(
      mask.blocks(),
      CsrMask::from_rows({{0, 1, 4}, {0, 1, 2, 4}, {0, 1, 2, 3, 4}, {0, 2, 3, 4}, {0, 3, 4}}, 5));
  EXPECT_EQ(BlockMask::from_layers(20, 4, 0, {}).to_csr(), SparseMask::block_diagonal(20, 4));
}

TEST(BlockMask, EmptySequencesAndBlocksLargerThanThem) {
  EXPECT_EQ(BlockMask::from_layers(0, 4, 1, {}).entries(), 0U);
  EXPECT_EQ(BlockMask::from_layers(0, 4, 1, {}).density(), 0.0);
  const BlockMask whole = BlockMask::from_layers(5, std::numeric_limits<std::size_t>::max(), 0, {});
  EXPECT_EQ(whole.density(), 1.0);
  EXPECT_EQ(whole.to_csr(), SparseMask::block_diagonal(5, 5));
}

TEST(BlockMask, RefusesWhatDoesNotFit) {
  expect_error(ErrorCode::kInvalidArgument, "block_size", [] { BlockMask(5, 0, CsrMask()); });
  expect_error(ErrorCode::kDimensionMismatch, "which has 3", [] {
    BlockMask(5, 2, CsrMask::from_rows({{0}, {1}}, 2));
  });
  expect_error(ErrorCode::kDimensionMismatch, "square",
               [] { BlockMask::covering(CsrMask::from_rows({{0}}, 2), 1); });
  expect_error(ErrorCode::kInvalidArgument, "index 5",
               [] { BlockMask::from_layers(5, 2, 0, Rows{{5}}); });
  expect_error(ErrorCode::kInvalidArgument, "limit of 24",
               [] { BlockMask::from_layers(5, 5, 0, {}).to_csr(24); });
}

}  // namespace
}  // namespace halo::attention
