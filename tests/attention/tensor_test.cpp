#include "halo/attention/tensor.h"

#include <gtest/gtest.h>

#include <limits>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

TEST(Tensor, ItemsFollowEachOther) {
  Tensor t(2, 3, 4);
  for (std::size_t i = 0; i < 24; ++i) t.data()[i] = static_cast<float>(i);
  EXPECT_EQ(t.item(1).row(2)[3], 23.0F);
  EXPECT_EQ(t.view().flat().rows, 6U);
  EXPECT_EQ(t.view().flat().row(4)[0], 16.0F);
}

TEST(Tensor, AMatrixIsABatchOfOneAndPaddingIsDroppedByACopy) {
  const Matrix m = test::random_matrix(5, 3, 1);
  ASSERT_GT(m.stride(), m.cols());
  const TensorView view = m;
  EXPECT_EQ(view.batch, 1U);
  EXPECT_EQ(view.stride, m.stride());
  const Tensor copy = Tensor::copy_of(view);
  EXPECT_EQ(copy.view().stride, 3U);
  test::expect_same_bytes(copy.item(0), m);
}

TEST(Tensor, EmptyShapesAndImpossibleOnes) {
  EXPECT_EQ(Tensor(0, 5, 4).view().flat().rows, 0U);
  EXPECT_EQ(Tensor(5, 0, 4).view().flat().rows, 0U);
  test::expect_error(ErrorCode::kOutOfMemory, "cannot be addressed",
                     [] { const Tensor huge(std::numeric_limits<std::size_t>::max(), 2, 1); });
}

}  // namespace
}  // namespace halo::attention
