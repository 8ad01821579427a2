#include "halo/core/byte_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "support/test_support.h"

namespace halo {
namespace {

TEST(ByteMatrix, RoundsEachRowToItsOwnScale) {
  Matrix x = test::random_matrix(20, 70, 3);
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t c = 0; c < 70; ++c)
      x.row(i)[c] *= std::pow(10.0F, static_cast<float>(i) - 10.0F);
  }
  const ByteMatrix bytes = ByteMatrix::quantised(x);
  std::vector<float> row(70);
  for (std::size_t i = 0; i < 20; ++i) {
    float largest = 0;
    for (const float v : x.row_span(i)) largest = std::max(largest, std::fabs(v));
    bytes.copy_row(i, row.data());
    for (std::size_t c = 0; c < 70; ++c) {
      EXPECT_NEAR(row[c], x.row(i)[c], largest / 253.0F) << i << ' ' << c;
    }
  }
}

TEST(ByteMatrix, RowsAreWholeCacheLinesPaddedWithZeros) {
  const ByteMatrix bytes = ByteMatrix::quantised(test::random_matrix(5, 70, 1));
  EXPECT_EQ(bytes.stride(), 128U);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.row(i)) % 64, 0U);
    for (std::size_t c = 70; c < 128; ++c) EXPECT_EQ(bytes.row(i)[c], 0);
  }
}

TEST(ByteMatrix, ZeroRowsAndEmptyMatricesStayZero) {
  const Matrix zero = Matrix::padded(2, 9);
  const ByteMatrix bytes = ByteMatrix::quantised(zero);
  std::vector<float> row(9, 1.0F);
  bytes.copy_row(1, row.data());
  EXPECT_EQ(row, std::vector<float>(9, 0.0F));
  EXPECT_EQ(ByteMatrix(0, 9).rows(), 0U);
  EXPECT_EQ(ByteMatrix().bytes(), 0U);
  test::expect_error(ErrorCode::kOutOfMemory, "address", [] { ByteMatrix(SIZE_MAX / 64, 64); });
}

}  // namespace
}  // namespace halo
