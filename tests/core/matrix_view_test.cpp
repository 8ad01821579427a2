#include "halo/core/matrix_view.h"

#include <gtest/gtest.h>

#include <cstdint>

#include "support/test_support.h"

namespace halo {
namespace {

TEST(Matrix, StartsAtZeroAndPadsRowsTo64Bytes) {
  const Matrix matrix = Matrix::padded(3, 17);
  EXPECT_EQ(matrix.stride(), 32U);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(matrix.row(i)) % 64, 0U);
    for (std::size_t j = 0; j < 32; ++j) EXPECT_EQ(matrix.row(i)[j], 0.0F);
  }
}

TEST(Matrix, SubViewsShareTheData) {
  Matrix matrix(4, 5);
  matrix.row(2)[3] = 7.0F;
  EXPECT_EQ(matrix.view().sub_rows(2, 1).row(0)[3], 7.0F);
  EXPECT_EQ(matrix.view().sub_cols(3, 2).row(2)[0], 7.0F);
  EXPECT_EQ(matrix.span().sub_rows(1, 3).sub_cols(3, 1).row(1)[0], 7.0F);
}

TEST(Matrix, CopiesAndMoves) {
  Matrix matrix = test::random_matrix(3, 5, 1);
  Matrix copy = Matrix::copy_of(matrix);
  EXPECT_EQ(copy.row(2)[4], matrix.row(2)[4]);
  const float* data = copy.data();
  const Matrix moved = std::move(copy);
  EXPECT_EQ(moved.data(), data);
}

TEST(Matrix, EmptyShapesHoldNothing) {
  EXPECT_TRUE(Matrix().empty());
  EXPECT_TRUE(Matrix(0, 5).empty());
  EXPECT_TRUE(Matrix(5, 0).empty());
  EXPECT_EQ(Matrix(5, 0).rows(), 5U);
}

TEST(Matrix, RefusesSizesThatCannotBeAddressed) {
  test::expect_error(ErrorCode::kOutOfMemory, "cannot be addressed",
                     [] { Matrix(std::size_t{1} << 40, std::size_t{1} << 30); });
}

}  // namespace
}  // namespace halo
