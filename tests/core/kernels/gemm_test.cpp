#include "halo/core/kernels/gemm.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "halo/core/executor.h"
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

TEST(Gemm, AllFormsAgreeWithDoubleAndWithAnyNumberOfThreads) {
  const Executor one(1), two(2);
  struct Shape {
    std::size_t m, k, n;
  };
  for (const Shape s :
       {Shape{0, 3, 2}, {1, 1, 1}, {3, 0, 2}, {5, 7, 3}, {300, 33, 17}, {513, 64, 65}}) {
    for (const Form form : {Form::kPlain, Form::kTransposedB, Form::kTransposedA}) {
      const Matrix a = form == Form::kTransposedA ? test::random_matrix(s.k, s.m, 1)
                                                  : test::random_matrix(s.m, s.k, 1);
      const Matrix b = form == Form::kTransposedB ? test::random_matrix(s.n, s.k, 2)
                                                  : test::random_matrix(s.k, s.n, 2);
      const Matrix out = product(form, a, b, s.m, s.n, one);
      const Matrix again = product(form, a, b, s.m, s.n, two);
      for (std::size_t i = 0; i < s.m; ++i) {
        EXPECT_EQ(std::memcmp(out.row(i), again.row(i), s.n * sizeof(float)), 0);
        for (std::size_t j = 0; j < s.n; ++j) {
          ASSERT_NEAR(out.row(i)[j], entry(form, a, b, i, j), 1e-4 * (1 + std::sqrt(double(s.k))));
        }
      }
    }
  }
}

}  // namespace
}  // namespace halo::kernels
