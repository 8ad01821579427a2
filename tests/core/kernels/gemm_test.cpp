#include "halo/core/kernels/gemm.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "core/kernels/every_half_isa.h"
#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/executor.h"
#include "halo/core/kernels/gemm_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

enum class Form { kPlain, kTransposedB, kTransposedA };

// The product in double, entry by entry.
double entry(Form form, const MatrixView& a, const MatrixView& b, std::size_t i, std::size_t j) {
  const std::size_t k = form == Form::kTransposedA ? a.rows : a.cols;
  double sum = 0;
  for (std::size_t l = 0; l < k; ++l) {
    const double x = form == Form::kTransposedA ? a.row(l)[i] : a.row(i)[l];
    const double y = form == Form::kTransposedB ? b.row(j)[l] : b.row(l)[j];
    sum += x * y;
  }
  return sum;
}

Matrix product(Form form, const MatrixView& a, const MatrixView& b, std::size_t m, std::size_t n,
               const Executor& executor) {
  Matrix out = Matrix::padded(m, n);
  switch (form) {
    case Form::kPlain:
      gemm(a, b, out, executor);
      break;
    case Form::kTransposedB:
      gemm_nt(a, b, out, executor);
      break;
    case Form::kTransposedA:
      gemm_tn(a, b, out, executor);
      break;
  }
  return out;
}

struct Shape {
  std::size_t m, k, n;
};

void expect_right(Form form, const Shape& s, const Executor& one, const Executor& four,
                  const char* isa) {
  const Matrix a = form == Form::kTransposedA ? test::random_matrix(s.k, s.m, 1)
                                              : test::random_matrix(s.m, s.k, 1);
  const Matrix b = form == Form::kTransposedB ? test::random_matrix(s.n, s.k, 2)
                                              : test::random_matrix(s.k, s.n, 2);
  const Matrix out = product(form, a, b, s.m, s.n, one);
  const Matrix again = product(form, a, b, s.m, s.n, four);
  ASSERT_TRUE(test::same_bytes(out, again)) << isa;
  // Sums are taken in order: k roundings of partial sums of size sqrt(k).
  const double bound = 1e-6 + 2.5e-7 * double(s.k);
  for (std::size_t i = 0; i < s.m; ++i) {
    for (std::size_t j = 0; j < s.n; ++j) {
      ASSERT_NEAR(out.row(i)[j], entry(form, a, b, i, j), bound)
          << isa << " " << s.m << "x" << s.k << "x" << s.n;
    }
  }
}

TEST(Gemm, AllFormsAgreeWithDoubleAndWithAnyNumberOfThreadsOnEveryIsa) {
  const Executor one(1), four(4);
  test::on_every_isa([&](const char* isa) {
    for (const Shape s : {Shape{0, 3, 2},
                          {1, 1, 1},
                          {3, 0, 2},
                          {2, 40, 33},
                          {5, 7, 3},
                          {3, 300, 70},
                          {61, 257, 65},
                          {97, 33, 17},
                          {9, 1024, 40},   // rows 4 KB apart
                          {70, 1024, 40},  // the same, in several blocks
                          {300, 20, 31}}) {
      for (const Form form : {Form::kPlain, Form::kTransposedB, Form::kTransposedA}) {
        expect_right(form, s, one, four, isa);
      }
    }
  });
  for (const Form form : {Form::kPlain, Form::kTransposedB, Form::kTransposedA}) {
    expect_right(form, {70, 600, 1100}, one, four, "the best isa");  // several blocks each way
  }
}

TEST(Gemm, PackedWeightsGiveTheBytesOfThePlainProduct) {
  const Executor one(1), four(4);
  test::on_every_isa([&](const char* isa) {
    for (const Shape s : {Shape{0, 3, 2},
                          {3, 0, 2},
                          {1, 1, 1},
                          {5, 300, 33},
                          {129, 64, 65},
                          {230, 513, 17},
                          {61, 1024, 33}}) {
      const Matrix a = test::random_matrix(s.m, s.k, 1), b = test::random_matrix(s.k, s.n, 2);
      Matrix turned(s.n, s.k);
      for (std::size_t i = 0; i < s.n; ++i) {
        for (std::size_t j = 0; j < s.k; ++j) turned.row(i)[j] = b.row(j)[i];
      }
      const PackedMatrix packed = pack(b), packed_turned = pack_transposed(turned);
      EXPECT_EQ(packed.rows(), s.k);
      EXPECT_EQ(packed.cols(), s.n);
      Matrix expected(s.m, s.n), out(s.m, s.n), out_four(s.m, s.n), out_turned(s.m, s.n);
      gemm(a, b, expected, one);
      gemm(a, packed, out, one);
      gemm(a, packed, out_four, four);
      gemm(a, packed_turned, out_turned, one);
      EXPECT_TRUE(test::same_bytes(out, expected)) << isa;
      EXPECT_TRUE(test::same_bytes(out_four, expected)) << isa;
      EXPECT_TRUE(test::same_bytes(out_turned, expected)) << isa;
    }
  });
}

TEST(Gemm, HalfStoredMatricesGiveTheProductOfTheirRoundedValues) {
  const Executor one(1), four(4);
  test::on_every_half_isa([&](const char* isa) {
    for (const Shape s : {Shape{0, 3, 2},
                          {3, 0, 2},
                          {1, 1, 1},
                          {5, 300, 33},
                          {15, 31, 16},
                          {129, 64, 65},
                          {230, 513, 17},
                          {450, 1027, 40}}) {
      const Matrix a = test::random_matrix(s.m, s.k, 1), b = test::random_matrix(s.k, s.n, 2);
      const HalfMatrix half_a = HalfMatrix::rounded(a);
      const PackedHalfMatrix packed = pack_half(b);
      EXPECT_EQ(packed.rows(), s.k);
      EXPECT_EQ(packed.cols(), s.n);
      Matrix wide_a(s.m, s.k), wide_b(s.k, s.n), expected(s.m, s.n), exact(s.m, s.n);
      widen(half_a, wide_a);
      widen(HalfMatrix::rounded(b), wide_b);
      Matrix out(s.m, s.n), out_four(s.m, s.n), out_half(s.m, s.n), expected_half(s.m, s.n);
      gemm(a, wide_b, expected, one);
      gemm(wide_a, wide_b, expected_half, one);
      gemm(a, b, exact, one);
      gemm(a, packed, out, one);
      gemm(a, packed, out_four, four);
      gemm(half_a, packed, out_half, four);
      EXPECT_TRUE(test::same_bytes(out_four, out)) << isa;
      if (bf16::in_hardware()) {  // rounds a as well, and sums pairs
        EXPECT_TRUE(test::same_bytes(out_half, out)) << isa;
      } else {
        EXPECT_TRUE(test::same_bytes(out, expected)) << isa;
        EXPECT_TRUE(test::same_bytes(out_half, expected_half)) << isa;
      }
      // Two roundings of at most 2^-8 each, sums of k products of standard normals: sqrt(k) in
      // size.
      const double root = std::sqrt(double(s.k) + 1);
      Matrix rounded(s.m, s.n);
      gemm_rounded(a, packed, rounded, four);
      for (std::size_t i = 0; i < s.m; ++i) {
        for (std::size_t j = 0; j < s.n; ++j) {
          EXPECT_NEAR(out_half.row(i)[j], expected_half.row(i)[j], 3e-6 * root) << isa;
          EXPECT_NEAR(out_half.row(i)[j], exact.row(i)[j], 0x1.0p-7 * 3 * root) << isa;
          EXPECT_EQ(rounded.row(i)[j], bf16_to_float(float_to_bf16(out.row(i)[j]))) << isa;
        }
      }
    }
  });
}

TEST(Gemm, TransposedProductsInBfloat16AreAdded) {
  if (!bf16::in_hardware()) GTEST_SKIP() << "this CPU does not multiply bfloat16";
  const Executor one(1);
  for (const Shape s : {Shape{3, 0, 2}, {1, 1, 1}, {15, 33, 40}, {256, 126, 64}, {29, 512, 33}}) {
    Matrix a = test::random_matrix(s.k, s.m, 1), b = test::random_matrix(s.k, s.n, 2);
    const Matrix before = test::random_matrix(s.m, s.n, 3);
    widen(HalfMatrix::rounded(a), a);
    widen(HalfMatrix::rounded(b), b);
    Matrix out = Matrix::copy_of(before);
    gemm_tn_add_half(a, b, out);
    for (std::size_t i = 0; i < s.m; ++i) {
      for (std::size_t j = 0; j < s.n; ++j) {
        EXPECT_NEAR(out.row(i)[j], before.row(i)[j] + entry(Form::kTransposedA, a, b, i, j),
                    3e-6 * (1 + std::sqrt(double(s.k))));
      }
    }
  }
}

TEST(Gemm, HalfStoredProductsWriteInsideStridedMatricesOnly) {
  const Executor one(1);
  test::on_every_half_isa([&](const char* isa) {
    const Matrix a = test::random_matrix(20, 40, 1), b = test::random_matrix(31, 50, 2);
    const MatrixView left = a.view().sub_cols(3, 31);
    const PackedHalfMatrix packed = pack_half(b.view().sub_cols(1, 37));
    Matrix out(30, 60), expected(20, 37);
    for (std::size_t i = 0; i < 30; ++i) std::fill_n(out.row(i), 60, 7.0F);
    gemm(left, packed, out.span().sub_rows(2, 20).sub_cols(4, 37), one);
    gemm(left, packed, expected, one);
    for (std::size_t i = 0; i < 30; ++i) {
      for (std::size_t j = 0; j < 60; ++j) {
        const bool inside = i >= 2 && i < 22 && j >= 4 && j < 41;
        EXPECT_EQ(out.row(i)[j], inside ? expected.row(i - 2)[j - 4] : 7.0F) << isa;
      }
    }
  });
}

TEST(Gemm, ProductsMayBeAdded) {
  const Executor one(1), four(4);
  test::on_every_isa([&](const char* isa) {
    for (const Shape s : {Shape{3, 0, 2}, {1, 1, 1}, {5, 300, 33}, {129, 64, 65}}) {
      const Matrix a = test::random_matrix(s.k, s.m, 1), b = test::random_matrix(s.k, s.n, 2);
      const Matrix before = test::random_matrix(s.m, s.n, 3);
      Matrix product(s.m, s.n), sum = Matrix::copy_of(before), again = Matrix::copy_of(before);
      gemm_tn(a, b, product, one);
      gemm_tn_add(a, b, sum, one);
      gemm_tn_add(a, b, again, four);
      EXPECT_TRUE(test::same_bytes(sum, again)) << isa;
      for (std::size_t i = 0; i < s.m; ++i) {
        for (std::size_t j = 0; j < s.n; ++j) {
          EXPECT_NEAR(sum.row(i)[j], before.row(i)[j] + product.row(i)[j], 1e-4) << isa;
        }
      }
    }
  });
}

TEST(Gemm, ReadsAndWritesInsideStridedMatricesOnly) {
  const Executor one(1);
  Matrix a = test::random_matrix(20, 40, 1), b = test::random_matrix(40, 50, 2);
  Matrix out(30, 60);
  for (std::size_t i = 0; i < 30; ++i) std::fill_n(out.row(i), 60, 7.0F);
  gemm(a.view().sub_cols(3, 30), b.view().sub_rows(5, 30).sub_cols(1, 37),
       out.span().sub_rows(2, 20).sub_cols(4, 37), one);
  for (std::size_t i = 0; i < 30; ++i) {
    for (std::size_t j = 0; j < 60; ++j) {
      if (i >= 2 && i < 22 && j >= 4 && j < 41) {
        EXPECT_NEAR(out.row(i)[j],
                    entry(Form::kPlain, a.view().sub_cols(3, 30),
                          b.view().sub_rows(5, 30).sub_cols(1, 37), i - 2, j - 4),
                    1e-4);
      } else {
        EXPECT_EQ(out.row(i)[j], 7.0F);
      }
    }
  }
}

TEST(Gemm, TheEigenTwinsAgree) {
  const Executor one(1);
  const Matrix a = test::random_matrix(70, 50, 1), b = test::random_matrix(50, 45, 2);
  const Matrix c = test::random_matrix(45, 50, 3), d = test::random_matrix(70, 30, 4);
  const auto expect_near = [](const Matrix& x, const Matrix& y) {
    for (std::size_t i = 0; i < x.rows(); ++i) {
      for (std::size_t j = 0; j < x.cols(); ++j) EXPECT_NEAR(x.row(i)[j], y.row(i)[j], 1e-4);
    }
  };
  Matrix x(70, 45), y(70, 45);
  gemm(a, b, x, one), reference::gemm(a, b, y);
  expect_near(x, y);
  gemm_nt(a, c, x, one), reference::gemm_nt(a, c, y);
  expect_near(x, y);
  Matrix z(50, 30), w(50, 30);
  gemm_tn(a, d, z, one), reference::gemm_tn(a, d, w);
  expect_near(z, w);
}

}  // namespace
}  // namespace halo::kernels
