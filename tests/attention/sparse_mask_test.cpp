#include "halo/attention/sparse_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <sstream>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

using test::expect_error;
constexpr std::size_t kHuge = std::numeric_limits<std::size_t>::max();

// The mask that a predicate describes, position by position.
template <class Attends>
void expect_mask(const CsrMask& mask, std::size_t n, Attends attends) {
  ASSERT_EQ(mask.rows(), n);
  ASSERT_EQ(mask.num_columns(), n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      ASSERT_EQ(mask.contains(i, j), attends(i, j)) << "n " << n << ": " << i << ", " << j;
    }
  }
}

std::size_t apart(std::size_t i, std::size_t j) { return i > j ? i - j : j - i; }

// The notes' test_local_window_mask.
TEST(SparseMask, LocalWindowOfTheNotes) {
  const CsrMask mask = SparseMask::local_window(5, 1);
  EXPECT_TRUE(mask.contains(0, 0));
  EXPECT_TRUE(mask.contains(0, 1));
  EXPECT_FALSE(mask.contains(0, 2));
  EXPECT_TRUE(mask.contains(2, 1));
  EXPECT_TRUE(mask.contains(2, 2));
  EXPECT_TRUE(mask.contains(2, 3));
  EXPECT_FALSE(mask.contains(2, 4));
  EXPECT_DOUBLE_EQ(SparseMask::compute_sparsity(mask), 13.0 / 25.0);
}

// The notes' test_global_indices_mask.
TEST(SparseMask, GlobalIndicesOfTheNotes) {
  const CsrMask mask = SparseMask::global_indices(5, std::vector<std::uint32_t>{0, 2});
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_TRUE(mask.contains(i, 0));
    EXPECT_TRUE(mask.contains(i, 2));
    EXPECT_FALSE(mask.contains(i, 1));
  }
}

TEST(SparseMask, AWindowHolds2wPlus1Columns) {
  const CsrMask mask = SparseMask::local_window(100, 7);
  EXPECT_EQ(mask.row(50).size(), 15U);
  EXPECT_EQ(mask.row(0).size(), 8U);
  EXPECT_EQ(mask.row(99).size(), 8U);
}

TEST(SparseMask, EveryPatternIsWhatItSaysAtAwkwardSizes) {
  for (const std::size_t n : {0U, 1U, 2U, 17U, 40U}) {
    for (const std::size_t w :
         {std::size_t{0}, std::size_t{1}, std::size_t{8}, std::size_t{9}, std::size_t{39}, kHuge}) {
      expect_mask(SparseMask::local_window(n, w), n,
                  [&](std::size_t i, std::size_t j) { return apart(i, j) <= w; });
      for (const std::size_t stride : {std::size_t{1}, std::size_t{3}, std::size_t{40}, kHuge}) {
        expect_mask(SparseMask::strided(n, w, stride), n, [&](std::size_t i, std::size_t j) {
          return apart(i, j) <= w || j % stride == 0;
        });
      }
      if (n >= 17) {
        const std::vector<std::uint32_t> globals{16, 3, 3, 0};
        expect_mask(SparseMask::local_global(n, w, globals), n, [&](std::size_t i, std::size_t j) {
          return apart(i, j) <= w || j == 0 || j == 3 || j == 16;
        });
      }
    }
    for (const std::size_t block : {std::size_t{1}, std::size_t{4}, std::size_t{17}, kHuge}) {
      expect_mask(SparseMask::block_diagonal(n, block), n,
                  [&](std::size_t i, std::size_t j) { return i / block == j / block; });
    }
  }
}

TEST(SparseMask, TakesNoMemoryBeyondItsEntries) {
  // n^2 bits would be 112 GB here.
  const CsrMask mask = SparseMask::local_window(1'000'000, 2);
  EXPECT_EQ(mask.entries(), 5'000'000U - 6U);
}

TEST(SparseMask, RefusesWhatCannotBeStored) {
  expect_error(ErrorCode::kInvalidArgument, "entries",
               [] { SparseMask::local_window(1 << 20, 1 << 19); });
  expect_error(ErrorCode::kInvalidArgument, "32 bits", [] { SparseMask::local_window(kHuge, 1); });
  expect_error(ErrorCode::kInvalidArgument, "32 bits", [] { SparseMask::strided(kHuge, 1, 1); });
  expect_error(ErrorCode::kInvalidArgument, "block_size", [] { SparseMask::block_diagonal(4, 0); });
  expect_error(ErrorCode::kInvalidArgument, "stride", [] { SparseMask::strided(4, 1, 0); });
}

TEST(SparseMask, OutOfRangeGlobalIndicesAreRefusedAndDuplicatesMerged) {
  const std::vector<std::uint32_t> outside{0, 5}, twice{4, 1, 4, 1};
  expect_error(ErrorCode::kInvalidArgument, "index 5",
               [&] { SparseMask::global_indices(5, outside); });
  expect_error(ErrorCode::kInvalidArgument, "index 5",
               [&] { SparseMask::local_global(5, 1, outside); });
  EXPECT_EQ(SparseMask::global_indices(5, twice).row(3).size(), 2U);
}

TEST(SparseMask, RandomEndsAndKeepsItsShareForAnySparsity) {
  for (const std::size_t n : {0U, 1U, 2U, 17U, 100U}) {
    for (const double share : {0.0, 0.01, 0.29, 0.5, 0.51, 0.99, 1.0}) {
      const CsrMask mask = SparseMask::random(n, share, 3);
      ASSERT_EQ(mask.rows(), n);
      const auto want = static_cast<std::size_t>(std::floor(share * static_cast<double>(n) + 1e-6));
      for (std::size_t i = 0; i < n; ++i) ASSERT_EQ(mask.row(i).size(), want) << n << ' ' << share;
    }
  }
  for (const double share : {-0.1, 1.001, 5.0, std::nan("")}) {
    expect_error(ErrorCode::kInvalidArgument, "sparsity",
                 [&] { SparseMask::random(10, share, 1); });
  }
}

TEST(SparseMask, RandomIsSeededAndUniform) {
  EXPECT_EQ(SparseMask::random(50, 0.2, 9), SparseMask::random(50, 0.2, 9));
  EXPECT_NE(SparseMask::random(50, 0.2, 9), SparseMask::random(50, 0.2, 10));
  // Both ways of drawing give every column the same share: 2000 rows, 5 standard deviations.
  for (const double share : {0.25, 0.75}) {
    std::vector<double> hits(8, 0.0);
    for (std::uint64_t seed = 0; seed < 250; ++seed) {
      const CsrMask mask = SparseMask::random(8, share, seed);
      for (const std::uint32_t column : mask.columns()) hits[column] += 1.0;
    }
    for (const double h : hits) EXPECT_NEAR(h / 2000.0, share, 5.0 * std::sqrt(0.1875 / 2000.0));
  }
}

TEST(SparseMask, AttentionMaskIsZeroOrMinusInfinity) {
  const CsrMask mask = SparseMask::random(17, 0.3, 1);
  const Matrix dense = SparseMask::to_attention_mask(mask);
  for (std::size_t i = 0; i < 17; ++i) {
    for (std::size_t j = 0; j < 17; ++j) {
      EXPECT_EQ(dense.row(i)[j],
                mask.contains(i, j) ? 0.0F : -std::numeric_limits<float>::infinity());
    }
  }
  expect_error(ErrorCode::kInvalidArgument, "CSR",
               [] { SparseMask::to_attention_mask(SparseMask::local_window(20'000, 0)); });
}

TEST(SparseMask, AppliesToScores) {
  const CsrMask mask = SparseMask::random(9, 0.4, 2);
  const Tensor scores = test::random_tensor(3, 9, 9, 4);
  Tensor by_csr = Tensor::copy_of(scores), by_dense = Tensor::copy_of(scores);
  SparseMask::apply_to_scores(by_csr, mask);
  SparseMask::apply_to_scores(by_dense, SparseMask::to_attention_mask(mask).view());
  EXPECT_TRUE(test::same_bytes(by_csr, by_dense));
  for (std::size_t b = 0; b < 3; ++b) {
    for (std::size_t i = 0; i < 9; ++i) {
      for (std::size_t j = 0; j < 9; ++j) {
        EXPECT_EQ(by_csr.item(b).row(i)[j], mask.contains(i, j)
                                                ? scores.item(b).row(i)[j]
                                                : -std::numeric_limits<float>::infinity());
      }
    }
  }
  Tensor other(1, 9, 8);
  expect_error(ErrorCode::kDimensionMismatch, "9 x 8",
               [&] { SparseMask::apply_to_scores(other, mask); });
}

TEST(SparseMask, SparsityOfAnEmptyShapeIsZero) {
  EXPECT_EQ(SparseMask::sparsity(CsrMask()), 0.0);
  EXPECT_EQ(SparseMask::sparsity(SparseMask::local_window(4, 9)), 1.0);
}

TEST(SparseMask, VisualizeShowsTheUpperLeftCorner) {
  EXPECT_EQ(SparseMask::visualize(SparseMask::local_window(3, 1)), "██·\n███\n·██\n");
  const std::string large = SparseMask::visualize(SparseMask::block_diagonal(50, 1));
  EXPECT_EQ(std::count(large.begin(), large.end(), '\n'), 20);
  EXPECT_EQ(SparseMask::visualize(CsrMask()), "");
}

TEST(SparseMask, PictureIsDensityAndALoneEntryIsSeen) {
  const MaskPicture exact = SparseMask::visualize_picture(SparseMask::block_diagonal(4, 2), 8);
  EXPECT_EQ(exact.width, 4U);
  EXPECT_EQ(exact.pixels, (std::vector<std::uint8_t>{255, 255, 0, 0, 255, 255, 0, 0,  //
                                                     0, 0, 255, 255, 0, 0, 255, 255}));
  // 5 rows in 2 cells: rows 0-2 and 3-4. The diagonal fills 3 of 9 and 2 of 4.
  const MaskPicture uneven = SparseMask::visualize_picture(SparseMask::block_diagonal(5, 1), 2);
  EXPECT_EQ(uneven.pixels, (std::vector<std::uint8_t>{122, 0, 0, 155}));
  const std::vector<std::pair<std::uint32_t, std::uint32_t>> lone{{99'999, 0}};
  const MaskPicture large =
      SparseMask::visualize_picture(CsrMask::from_pairs(100'000, 100'000, lone), 100);
  EXPECT_EQ(large.pixels[99 * 100], 55);
  EXPECT_EQ(std::count(large.pixels.begin(), large.pixels.end(), 0), 9999);
  expect_error(ErrorCode::kInvalidArgument, "max_side",
               [] { SparseMask::visualize_picture(CsrMask(), 0); });
}

TEST(SparseMask, PgmHasItsHeaderAndBytes) {
  std::ostringstream out;
  SparseMask::visualize_pgm(SparseMask::block_diagonal(2, 1), out);
  EXPECT_EQ(out.str(), std::string("P5\n2 2\n255\n\xff\0\0\xff", 15));
  out.setstate(std::ios::badbit);
  expect_error(ErrorCode::kIo, "picture",
               [&] { SparseMask::visualize_pgm(SparseMask::block_diagonal(2, 1), out); });
}

}  // namespace
}  // namespace halo::attention
