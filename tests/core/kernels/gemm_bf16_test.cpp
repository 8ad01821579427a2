// The layouts that products of bfloat16 pairs read, entry by entry; the products themselves are in
// gemm_test.cpp.
#include "halo/core/kernels/gemm_bf16.h"

#include <gtest/gtest.h>

#include <vector>

#include "halo/core/half_matrix.h"
#include "support/test_support.h"

namespace halo::kernels::bf16 {
namespace {

Pair pair_of(float low, float high) {
  return Pair{float_to_bf16(low)} | Pair{float_to_bf16(high)} << 16;
}

float at(const MatrixView& m, std::size_t i, std::size_t j) {
  return i < m.rows && j < m.cols ? m.row(i)[j] : 0.0F;
}

class GemmBf16 : public testing::Test {
 protected:
  void SetUp() override {
    if (!in_hardware()) GTEST_SKIP() << "this CPU does not multiply bfloat16";
  }
};

TEST_F(GemmBf16, RowsAreRoundedToPairsAndMadeUpToTiles) {
  for (const std::size_t depth : {1U, 2U, 15U, 31U, 32U, 33U, 47U, 65U, 512U}) {
    for (const std::size_t rows : {1U, 14U, 17U}) {
      const Matrix a = test::random_matrix(rows, depth, 1);
      const std::size_t whole = (rows + kTileRows - 1) / kTileRows * kTileRows;
      std::vector<Pair> out(whole * kRowPairs, 77);
      round_rows(a.row(0), a.view().stride, rows, depth, out.data());
      for (std::size_t i = 0; i < whole; ++i) {
        for (std::size_t p = 0; p < pairs_of(depth); ++p) {
          ASSERT_EQ(out[i * kRowPairs + p], pair_of(at(a, i, 2 * p), at(a, i, 2 * p + 1)));
        }
        if (pairs_of(depth) < kRowPairs) {
          ASSERT_EQ(out[i * kRowPairs + pairs_of(depth)], 77U);
        }
      }
    }
  }
}

TEST_F(GemmBf16, PanelsHoldPairsOfRowsAndZerosBehind) {
  for (const std::size_t depth : {1U, 2U, 9U}) {
    for (const std::size_t columns : {1U, 16U, 31U, 32U, 33U, 70U}) {
      const Matrix b = test::random_matrix(depth, columns, 2);
      const std::size_t panels = (columns + kPanel - 1) / kPanel, pairs = pairs_of(depth);
      std::vector<Pair> out(panels * pairs * kPanel, 77), rows(pairs * (columns + 3), 77);
      pack_panels(b.row(0), b.view().stride, depth, columns, out.data());
      pair_rows(b.row(0), b.view().stride, depth, columns, columns + 3, rows.data());
      for (std::size_t p = 0; p < pairs; ++p) {
        for (std::size_t c = 0; c < panels * kPanel; ++c) {
          const Pair expected = pair_of(at(b, 2 * p, c), at(b, 2 * p + 1, c));
          ASSERT_EQ(out[(c / kPanel * pairs + p) * kPanel + c % kPanel], expected);
          if (c < columns + 3) {
            ASSERT_EQ(rows[p * (columns + 3) + c], expected);
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace halo::kernels::bf16
