#include "halo/gnn/conv/conv_input.h"

#include <gtest/gtest.h>

#include <cstring>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

// A row without entries, one with all of them, some with a few.
struct Rows {
  Rows() {
    std::vector<std::vector<std::uint32_t>> columns(5);
    for (std::uint32_t c = 0; c < 6; ++c) columns[1].push_back(c);
    columns[2] = {3};
    columns[4] = {0, 5};
    pattern = CsrMask::from_rows(std::move(columns), 6);
    std::size_t e = 0;
    for (std::size_t i = 0; i < 5; ++i) {
      for (const std::uint32_t c : pattern.row(i)) {
        values.push_back(0.5F * static_cast<float>(e++) - 1.0F);
        dense.row(i)[c] = values.back();
      }
    }
  }
  CsrMask pattern;
  std::vector<float> values;
  Matrix dense{5, 6};
};

void expect_near(const Matrix& a, const Matrix& b) {
  for (std::size_t i = 0; i < a.rows(); ++i) {
    for (std::size_t c = 0; c < a.cols(); ++c) EXPECT_NEAR(a.row(i)[c], b.row(i)[c], 1e-5);
  }
}

TEST(ConvInput, SparseRowsComputeWhatDenseOnesDo) {
  const Rows rows;
  const ConvInput sparse(rows.pattern, rows.values), dense(rows.dense);
  EXPECT_EQ(sparse.rows(), 5U);
  EXPECT_EQ(sparse.cols(), 6U);
  for (const std::size_t width : {1U, 3U, 40U}) {
    const Matrix weight = test::random_matrix(width, 6, 1),
                 d_out = test::random_matrix(5, width, 2);
    Matrix a = test::random_matrix(5, width, 3), b(5, width);  // what stood there is overwritten
    sparse.times_transposed(weight, a, Executor(2));
    dense.times_transposed(weight, b, Executor(1));
    expect_near(a, b);
    Matrix d_a = test::random_matrix(width, 6, 4), d_b = Matrix::copy_of(d_a);  // added to
    Matrix again = Matrix::copy_of(d_a);
    sparse.add_weight_gradient(d_out, d_a, Executor(3));
    sparse.add_weight_gradient(d_out, again, Executor(1));
    dense.add_weight_gradient(d_out, d_b, Executor(1));
    expect_near(d_a, d_b);
    for (std::size_t r = 0; r < width; ++r) {
      EXPECT_EQ(std::memcmp(d_a.row(r), again.row(r), 6 * sizeof(float)), 0);
    }
  }
}

TEST(ConvInput, RowsWithoutAnyEntryAndWrongCounts) {
  const CsrMask empty = CsrMask::from_rows({{}, {}}, 3);
  const ConvInput input(empty, std::vector<float>{});
  Matrix out = test::random_matrix(2, 2, 1);
  input.times_transposed(test::random_matrix(2, 3, 2), out, Executor(1));
  for (std::size_t i = 0; i < 2; ++i) EXPECT_EQ(out.row(i)[0] * out.row(i)[1], 0.0F);
  test::expect_error(ErrorCode::kDimensionMismatch, "one value an entry",
                     [&] { ConvInput(empty, std::vector<float>(1)); });
}

}  // namespace
}  // namespace halo::gnn
