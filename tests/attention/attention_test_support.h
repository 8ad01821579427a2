// What the attention tests share: random tensors, comparisons, and whole layers in plain form.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "halo/attention/projections.h"
#include "halo/attention/tensor.h"
#include "halo/core/matrix_view.h"
#include "support/test_support.h"

namespace halo::attention::test {

using halo::test::expect_error;
using halo::test::random_matrix;

inline Tensor random_tensor(std::size_t batch, std::size_t n, std::size_t dim, std::uint64_t seed) {
  const Matrix values = random_matrix(batch * n, dim, seed);
  Tensor tensor(batch, n, dim);
  for (std::size_t i = 0; i < values.rows(); ++i) {
    for (std::size_t c = 0; c < dim; ++c) tensor.data()[i * dim + c] = values.row(i)[c];
  }
  return tensor;
}

/// Every value within 1e-5 of the reference, relative to the reference's largest value.
inline void expect_close(const MatrixView& got, const std::vector<double>& want,
                         double tolerance = 1e-5) {
  ASSERT_EQ(got.rows * got.cols, want.size());
  double largest = 1e-30;
  for (const double w : want) largest = std::max(largest, std::fabs(w));
  for (std::size_t i = 0; i < got.rows; ++i) {
    for (std::size_t c = 0; c < got.cols; ++c) {
      ASSERT_NEAR(static_cast<double>(got.row(i)[c]), want[i * got.cols + c], tolerance * largest)
          << "row " << i << ", column " << c;
    }
  }
}

inline void expect_same_bytes(const MatrixView& a, const MatrixView& b) {
  ASSERT_EQ(a.rows, b.rows);
  ASSERT_EQ(a.cols, b.cols);
  for (std::size_t i = 0; i < a.rows; ++i) {
    ASSERT_EQ(std::memcmp(a.row(i), b.row(i), a.cols * sizeof(float)), 0) << "row " << i;
  }
}

inline bool same_bytes(const Tensor& a, const Tensor& b) {
  if (a.batch() != b.batch() || a.n() != b.n() || a.dim() != b.dim()) return false;
  const std::size_t bytes = a.batch() * a.n() * a.dim() * sizeof(float);
  return bytes == 0 || std::memcmp(a.data(), b.data(), bytes) == 0;
}

/// x w in double, rounded once.
inline Matrix plain_product(const MatrixView& x, const MatrixView& w) {
  Matrix out(x.rows, w.cols);
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t c = 0; c < w.cols; ++c) {
      double sum = 0.0;
      for (std::size_t l = 0; l < x.cols; ++l) {
        sum += static_cast<double>(x.row(i)[l]) * static_cast<double>(w.row(l)[c]);
      }
      out.row(i)[c] = static_cast<float>(sum);
    }
  }
  return out;
}

/// A whole layer for one item: projections, head(h, q, k, v) -> [n, head_dim] for each head, output
/// projection.
template <class Head>
std::vector<double> plain_layer(const MatrixView& x, const Projections& p, Head head) {
  const Matrix q = plain_product(x, p.w_q()), k = plain_product(x, p.w_k()),
               v = plain_product(x, p.w_v());
  const std::size_t d = p.head_dim();
  Matrix mixed(x.rows, p.d_model());
  for (std::size_t h = 0; h < p.num_heads(); ++h) {
    const std::vector<double> out = head(h, q.view().sub_cols(h * d, d),
                                         k.view().sub_cols(h * d, d), v.view().sub_cols(h * d, d));
    for (std::size_t i = 0; i < x.rows; ++i) {
      for (std::size_t c = 0; c < d; ++c) {
        mixed.row(i)[h * d + c] = static_cast<float>(out[i * d + c]);
      }
    }
  }
  const Matrix result = plain_product(mixed, p.w_o());
  return {result.data(), result.data() + result.rows() * result.cols()};
}

}  // namespace halo::attention::test
