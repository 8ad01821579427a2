#include "halo/attention/head_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "attention_test_support.h"
#include "halo/attention/detail/row_blocks.h"
#include "halo/attention/reference.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

using test::expect_close;
using test::expect_error;
using test::random_matrix;

struct Head {
  Head(std::size_t n, std::size_t d, std::uint64_t seed)
      : q(random_matrix(n, d, seed)),
        k(random_matrix(n, d, seed + 1)),
        v(random_matrix(n, d, seed + 2)),
        scale(1.0F / std::sqrt(static_cast<float>(d))) {}
  Matrix q, k, v;
  float scale;

  // The output starts as NaN, so that a row nobody writes is seen.
  template <class Kernel>
  Matrix run(Kernel kernel, const Executor& executor) const {
    Matrix out = Matrix::padded(q.rows(), v.cols());
    for (std::size_t i = 0; i < out.rows(); ++i) {
      for (std::size_t c = 0; c < out.cols(); ++c) out.row(i)[c] = std::nanf("");
    }
    kernel(out.span(), executor);
    return out;
  }
};

// Rows of 0 to 8 random columns; every third row is empty.
CsrMask ragged_mask(std::size_t n, std::uint64_t seed) {
  Random random(seed);
  std::vector<std::vector<std::uint32_t>> rows(n);
  for (std::size_t i = 0; i < n; ++i) {
    if (i % 3 == 1) continue;
    for (std::uint64_t e = random.below(9); e > 0; --e) {
      rows[i].push_back(static_cast<std::uint32_t>(random.below(n)));
    }
  }
  return CsrMask::from_rows(std::move(rows), n);
}

void check_all(std::size_t n, std::size_t d) {
  SCOPED_TRACE("n " + std::to_string(n) + ", head_dim " + std::to_string(d));
  const Executor one(1), four(4);
  const Head h(n, d, 100 * n + d);
  const CsrMask mask = ragged_mask(n, n + d);
  std::vector<std::uint32_t> globals;
  if (n > 0) {
    globals = {static_cast<std::uint32_t>(n - 1), 0, static_cast<std::uint32_t>(n / 2),
               static_cast<std::uint32_t>(n - 1)};
  }
  const auto check = [&](const std::vector<double>& want, auto kernel) {
    const Matrix out = h.run(kernel, one);
    expect_close(out, want);
    test::expect_same_bytes(out, h.run(kernel, four));
  };
  check(reference::standard_attention(h.q, h.k, h.v, h.scale),
        [&](const MatrixSpan& out, const Executor& e) {
          standard_attention(h.q, h.k, h.v, h.scale, out, e);
        });
  check(reference::standard_attention(h.q, h.k, h.v, h.scale),
        [&](const MatrixSpan& out, const Executor& e) {
          flash_attention(h.q, h.k, h.v, h.scale, out, {}, e);
        });
  for (const std::size_t size : {std::size_t{1}, std::size_t{5}, std::size_t{64}}) {
    const BlockMask blocks = BlockMask::covering(mask, size);
    check(reference::csr_attention(h.q, h.k, h.v, blocks.to_csr(), h.scale),
          [&](const MatrixSpan& out, const Executor& e) {
            block_attention(h.q, h.k, h.v, blocks, h.scale, out, e);
          });
  }
  check(reference::csr_attention(h.q, h.k, h.v, mask, h.scale),
        [&](const MatrixSpan& out, const Executor& e) {
          csr_attention(h.q, h.k, h.v, mask, h.scale, out, e);
        });
  check(reference::csr_attention(h.q, h.k, h.v, mask, h.scale),
        [&](const MatrixSpan& out, const Executor& e) {
          masked_attention(h.q, h.k, h.v, mask, h.scale, out, e);
        });
  for (const std::size_t window :
       {std::size_t{0}, std::size_t{3}, std::numeric_limits<std::size_t>::max()}) {
    check(reference::window_attention(h.q, h.k, h.v, window, h.scale),
          [&](const MatrixSpan& out, const Executor& e) {
            window_attention(h.q, h.k, h.v, window, h.scale, out, e);
          });
  }
  check(reference::global_attention(h.q, h.k, h.v, globals, h.scale),
        [&](const MatrixSpan& out, const Executor& e) {
          global_attention(h.q, h.k, h.v, globals, h.scale, out, e);
        });
}

TEST(HeadAttention, AgreesWithTheReferenceAtAwkwardLengths) {
  for (const std::size_t n : {0U, 1U, 2U, 17U, 63U, 64U, 65U, 100U}) {
    for (const std::size_t d : {1U, 7U, 33U}) check_all(n, d);
  }
}

TEST(HeadAttention, AgreesWithTheReferenceAtEveryHeadDimension) {
  for (std::size_t d = 1; d <= 70; ++d) check_all(17, d);
}

TEST(HeadAttention, QueriesAndKeysMayDifferInNumberAndValuesInDimension) {
  const Matrix q = random_matrix(5, 4, 1), k = random_matrix(9, 4, 2), v = random_matrix(9, 6, 3);
  const Executor executor(2);
  Matrix out(5, 6);
  standard_attention(q, k, v, 0.5F, out, executor);
  expect_close(out, reference::standard_attention(q, k, v, 0.5));
  const CsrMask mask = CsrMask::from_rows({{8, 0}, {}, {3}, {1, 2, 3}, {4}}, 9);
  csr_attention(q, k, v, mask, 0.5F, out, executor);
  expect_close(out, reference::csr_attention(q, k, v, mask, 0.5));
}

TEST(HeadAttention, NoKeyGivesZerosNotNaN) {
  const Executor executor(1);
  const Head h(17, 8, 1);
  const CsrMask empty = CsrMask::from_rows(std::vector<std::vector<std::uint32_t>>(17), 17);
  const std::vector<double> zeros(17 * 8, 0.0);
  expect_close(
      h.run([&](const MatrixSpan& out,
                const Executor& e) { csr_attention(h.q, h.k, h.v, empty, h.scale, out, e); },
            executor),
      zeros);
  expect_close(
      h.run([&](const MatrixSpan& out,
                const Executor& e) { global_attention(h.q, h.k, h.v, {}, h.scale, out, e); },
            executor),
      zeros);
  expect_close(h.run(
                   [&](const MatrixSpan& out, const Executor& e) {
                     standard_attention(h.q, MatrixView(nullptr, 0, 8), MatrixView(nullptr, 0, 8),
                                        h.scale, out, e);
                   },
                   executor),
               zeros);
}

TEST(HeadAttention, OneAllowedKeyIsCopied) {
  const Head h(17, 8, 2);
  const Executor executor(1);
  const Matrix out = h.run(
      [&](const MatrixSpan& o, const Executor& e) {
        csr_attention(h.q, h.k, h.v, SparseMask::block_diagonal(17, 1), h.scale, o, e);
      },
      executor);
  test::expect_same_bytes(out, h.v);
}

TEST(HeadAttention, LargeLogitsDoNotOverflow) {
  Head h(20, 16, 3);
  h.scale = 1e4F;
  const Executor executor(1);
  const Matrix out =
      h.run([&](const MatrixSpan& o,
                const Executor& e) { standard_attention(h.q, h.k, h.v, h.scale, o, e); },
            executor);
  expect_close(out, reference::standard_attention(h.q, h.k, h.v, 1e4), 1e-3);
}

TEST(HeadAttention, LogSumsComeWithTheTiles) {
  const Head h(30, 8, 3);
  const Executor executor(1);
  Matrix out(30, 8);
  std::vector<float> lse(30);
  flash_attention(h.q, h.k, h.v, h.scale, out, lse, executor);
  for (std::size_t i = 0; i < 30; ++i) {
    double sum = 0.0;
    for (std::size_t j = 0; j < 30; ++j) {
      double dot = 0.0;
      for (std::size_t c = 0; c < 8; ++c) dot += double{h.q.row(i)[c]} * double{h.k.row(j)[c]};
      sum += std::exp(double{h.scale} * dot);
    }
    EXPECT_NEAR(lse[i], std::log(sum), 1e-5);
  }
}

// Runs longer than a segment, runs of one block, and several segments a row.
TEST(HeadAttention, BlocksAreGatheredInPartsWithoutATrace) {
  const Executor executor(2);
  const Head h(700, 3, 3);
  const Head wide(300, 300, 4);  // segments of 109 keys
  for (const Head* head : {&h, &wide}) {
    for (const std::size_t size : {1U, 7U, 128U}) {
      const std::size_t n = head->q.rows();
      const BlockMask blocks = BlockMask::covering(SparseMask::random(n, 0.3, 5), size);
      const Matrix out = head->run(
          [&](const MatrixSpan& o, const Executor& e) {
            block_attention(head->q, head->k, head->v, blocks, head->scale, o, e);
          },
          executor);
      expect_close(
          out, reference::csr_attention(head->q, head->k, head->v, blocks.to_csr(), head->scale));
    }
  }
}

TEST(HeadAttention, DuplicateGlobalsCountOnceInAnyOrder) {
  const Head h(17, 8, 4);
  const Executor executor(1);
  const auto run = [&](const std::vector<std::uint32_t>& indices) {
    return h.run(
        [&](const MatrixSpan& o, const Executor& e) {
          global_attention(h.q, h.k, h.v, indices, h.scale, o, e);
        },
        executor);
  };
  test::expect_same_bytes(run({9, 3, 9, 9, 3}), run({3, 9}));
}

TEST(HeadAttention, ALayerMaskIsUsedWithoutBeingStored) {
  const Head h(40, 6, 5);
  const Executor executor(2);
  const std::vector<std::vector<std::uint32_t>> layers{
      {0, 1, 2, 3, 5, 8, 13, 21, 34}, {3, 13}, {13}};
  const LayerMask mask = HnswMask::from_layers(40, layers);
  const Matrix implicit =
      h.run([&](const MatrixSpan& o,
                const Executor& e) { layer_attention(h.q, h.k, h.v, mask, h.scale, o, e); },
            executor);
  const Matrix stored =
      h.run([&](const MatrixSpan& o,
                const Executor& e) { csr_attention(h.q, h.k, h.v, mask.to_csr(), h.scale, o, e); },
            executor);
  for (std::size_t i = 0; i < 40; ++i) {
    for (std::size_t c = 0; c < 6; ++c) EXPECT_NEAR(implicit.row(i)[c], stored.row(i)[c], 1e-6);
  }
}

TEST(HeadAttention, DenseLogitsStayWithinTheirWorkspace) {
  for (const std::size_t keys : {0U, 1U, 2048U, 4096U, 65536U, 10'000'000U}) {
    const std::size_t block = detail::dense_block(keys);
    EXPECT_GE(block, 4U);
    EXPECT_LE(block, 64U);
    EXPECT_TRUE(block == 4 || block * keys * sizeof(float) <= 1U << 20U);
  }
}

TEST(HeadAttention, RefusesShapesThatDoNotFit) {
  const Executor executor(1);
  const Head h(6, 4, 6);
  Matrix out(6, 4);
  const auto mismatch = [&](const char* text, auto call) {
    expect_error(ErrorCode::kDimensionMismatch, text, call);
  };
  const Matrix other = random_matrix(5, 4, 1), narrow = random_matrix(6, 3, 1);
  Matrix small(6, 3);
  mismatch("keys", [&] { standard_attention(h.q, narrow, h.v, 1, out, executor); });
  mismatch("values", [&] { standard_attention(h.q, h.k, other, 1, out, executor); });
  mismatch("output", [&] { standard_attention(h.q, h.k, h.v, 1, small, executor); });
  mismatch("rows of the output", [&] { standard_attention(other, h.k, h.v, 1, out, executor); });
  mismatch("number of keys", [&] { window_attention(h.q, other, other, 1, 1, out, executor); });
  mismatch("rows of the mask",
           [&] { csr_attention(h.q, h.k, h.v, SparseMask::local_window(5, 1), 1, out, executor); });
  mismatch("columns of the mask", [&] {
    csr_attention(h.q, h.k, h.v, CsrMask(std::vector<std::uint64_t>(7, 0), {}, 9), 1, out,
                  executor);
  });
  mismatch("rows of the mask", [&] {
    block_attention(h.q, h.k, h.v, BlockMask::covering(SparseMask::local_window(5, 1), 2), 1, out,
                    executor);
  });
  mismatch("random features",
           [&] { linear_attention(h.q, h.k, h.v, RandomFeatures(8, 5, 1), 1, out, executor); });
  mismatch("lse", [&] {
    std::vector<float> lse(5);
    flash_attention(h.q, h.k, h.v, 1, out, lse, executor);
  });
  mismatch("gradient of the keys", [&] {
    Matrix d_q(6, 4), d_v(6, 4);
    csr_attention_backward(h.q, h.k, h.v, SparseMask::local_window(6, 1), 1, out, {d_q, small, d_v},
                           executor);
  });
  mismatch("rows of the mask", [&] {
    layer_attention(h.q, h.k, h.v, HnswMask::from_layers(5, {{0, 1}}), 1, out, executor);
  });
}

TEST(HeadAttention, RefusesBrokenMasksIndicesAndScales) {
  const Executor executor(1);
  const Head h(3, 4, 7);
  Matrix out(3, 4);
  const std::vector<std::uint64_t> offsets{0, 2, 2, 2};
  const std::vector<std::uint32_t> outside{0, 3}, descending{1, 0};
  expect_error(ErrorCode::kInvalidArgument, "column 3", [&] {
    csr_attention(h.q, h.k, h.v, CsrView{offsets, outside, 3}, 1, out, executor);
  });
  expect_error(ErrorCode::kInvalidArgument, "ascending", [&] {
    csr_attention(h.q, h.k, h.v, CsrView{offsets, descending, 3}, 1, out, executor);
  });
  expect_error(ErrorCode::kInvalidArgument, "index 3",
               [&] { global_attention(h.q, h.k, h.v, outside, 1, out, executor); });
  expect_error(ErrorCode::kInvalidArgument, "scale",
               [&] { standard_attention(h.q, h.k, h.v, std::nanf(""), out, executor); });
  expect_error(ErrorCode::kInvalidArgument, "above 0",
               [&] { linear_attention(h.q, h.k, h.v, RandomFeatures(8, 4, 1), 0, out, executor); });
}

}  // namespace
}  // namespace halo::attention
