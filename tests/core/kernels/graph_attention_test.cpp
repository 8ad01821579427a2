#include "halo/core/kernels/graph_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>
#include <vector>

#include "core/kernels/every_isa.h"
#include "core/kernels/same_bytes.h"
#include "halo/core/kernels/attention_reference.h"
#include "halo/core/random.h"
#include "support/row_adaptive_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

// What rounding both factors of a product to bfloat16 may cost, of the largest sum.
constexpr double kRounded = 8e-3;

struct Case {
  std::size_t n, m, d, dv, heads, edges;
};

// Rows of 0, 1 and about `edges` keys, and one that sees every key.
CsrMask some_mask(const Case& c) {
  Random random(c.n * 31 + c.m);
  std::vector<std::vector<std::uint32_t>> rows(c.n);
  for (std::size_t i = 0; i < c.n && c.m > 0; ++i) {
    const std::size_t count = i % 5 == 3 ? 0 : i % 5 == 4 ? 1 : c.edges;
    for (std::size_t e = 0; e < count; ++e) {
      rows[i].push_back(static_cast<std::uint32_t>(random.below(c.m)));
    }
  }
  for (std::size_t j = 0; c.n > 1 && j < c.m; ++j) rows[1].push_back(static_cast<std::uint32_t>(j));
  return CsrMask::from_rows(std::move(rows), c.m);
}

// |got - expected| <= bound * the largest expected value (or 1).
void expect_near(const MatrixView& got, const std::vector<double>& expected, double bound,
                 const char* what, const char* isa) {
  double largest = 1;
  for (const double x : expected) largest = std::max(largest, std::fabs(x));
  for (std::size_t i = 0; i < got.rows; ++i) {
    for (std::size_t j = 0; j < got.cols; ++j) {
      ASSERT_NEAR(got.row(i)[j], expected[i * got.cols + j], bound * largest)
          << isa << " " << what << " (" << i << ", " << j << ")";
    }
  }
}

Matrix as_floats(const HalfMatrix& half) {
  Matrix m(half.rows(), half.cols());
  for (std::size_t i = 0; i < m.rows(); ++i) {
    for (std::size_t j = 0; j < m.cols(); ++j) m.row(i)[j] = bf16_to_float(half.row(i)[j]);
  }
  return m;
}

void expect_right(const CsrMask& mask, const Case& c, const char* isa) {
  SCOPED_TRACE(testing::Message() << "n=" << c.n << " m=" << c.m << " d=" << c.d << " dv=" << c.dv
                                  << " heads=" << c.heads);
  const Executor one(1), four(4);
  const HalfMatrix half_k = HalfMatrix::rounded(test::random_matrix(c.m, c.heads * c.d, 2));
  const HalfMatrix half_v = HalfMatrix::rounded(test::random_matrix(c.m, c.heads * c.dv, 3));
  // Values that bfloat16 can hold, so that both storages have one expected answer.
  const Matrix k = as_floats(half_k), v = as_floats(half_v);
  const Matrix q = test::random_matrix(c.n, c.heads * c.d, 1);
  const Matrix d_out = test::random_matrix(c.n, c.heads * c.dv, 4);
  const GraphAttentionOptions options{.heads = c.heads, .scale = 0.4F};

  Matrix out(c.n, c.heads * c.dv), again(c.n, c.heads * c.dv), half(c.n, c.heads * c.dv);
  Matrix half_again(c.n, c.heads * c.dv), plain(c.n, c.heads * c.dv);
  std::vector<float> lse(c.n * c.heads), half_lse(c.n * c.heads);
  graph_attention_forward(q, k, v, mask, options, out, lse, one);
  graph_attention_forward(q, k, v, mask, options, again, lse, four);
  graph_attention_forward(q, k, v, mask, options, plain, {}, one);
  graph_attention_forward(q, half_k, half_v, mask, options, half, half_lse, one);
  graph_attention_forward(q, half_k, half_v, mask, options, half_again, half_lse, four);
  ASSERT_TRUE(test::same_bytes(out, again)) << isa;
  ASSERT_TRUE(test::same_bytes(out, plain)) << isa;
  ASSERT_TRUE(test::same_bytes(half, half_again)) << isa;

  const TransposedEdges edges = transposed_edges(mask);
  Matrix d_q(c.n, c.heads * c.d), d_k(c.m, c.heads * c.d), d_v(c.m, c.heads * c.dv);
  Matrix d_q4(c.n, c.heads * c.d), d_k4(c.m, c.heads * c.d), d_v4(c.m, c.heads * c.dv);
  GraphWorkspace workspace;
  graph_attention_backward(q, k, v, mask, edges, options, {out, lse}, d_out, {d_q, d_k, d_v},
                           workspace, one);
  graph_attention_backward(q, k, v, mask, edges, options, {}, d_out, {d_q4, d_k4, d_v4}, workspace,
                           four);
  ASSERT_TRUE(test::same_bytes(d_q, d_q4)) << isa;
  ASSERT_TRUE(test::same_bytes(d_k, d_k4)) << isa;
  ASSERT_TRUE(test::same_bytes(d_v, d_v4)) << isa;
  Matrix half_q(c.n, c.heads * c.d), half_dk(c.m, c.heads * c.d), half_dv(c.m, c.heads * c.dv);
  graph_attention_backward(q, half_k, half_v, mask, edges, options, {half, half_lse}, d_out,
                           {half_q, half_dk, half_dv}, workspace, one);

  const auto allowed = [&](std::size_t i, std::size_t j) { return mask.contains(i, j); };
  for (std::size_t h = 0; h < c.heads; ++h) {
    const MatrixView head_q = q.view().sub_cols(h * c.d, c.d);
    const MatrixView head_k = k.view().sub_cols(h * c.d, c.d);
    const MatrixView head_v = v.view().sub_cols(h * c.dv, c.dv);
    const reference::Attention expected =
        reference::attention(head_q, head_k, head_v, options.scale, allowed);
    const reference::AttentionGradients slopes = reference::attention_backward(
        head_q, head_k, head_v, options.scale, allowed, d_out.view().sub_cols(h * c.dv, c.dv));
    expect_near(out.view().sub_cols(h * c.dv, c.dv), expected.out, 2e-6, "out", isa);
    expect_near(half.view().sub_cols(h * c.dv, c.dv), expected.out, 2e-6, "bf16 out", isa);
    expect_near(half_q.view().sub_cols(h * c.d, c.d), slopes.q, 1e-5, "bf16 dq", isa);
    expect_near(half_dk.view().sub_cols(h * c.d, c.d), slopes.k, kRounded, "bf16 dk", isa);
    expect_near(half_dv.view().sub_cols(h * c.dv, c.dv), slopes.v, kRounded, "bf16 dv", isa);
    expect_near(d_q.view().sub_cols(h * c.d, c.d), slopes.q, 1e-5, "dq", isa);
    expect_near(d_k.view().sub_cols(h * c.d, c.d), slopes.k, 1e-5, "dk", isa);
    expect_near(d_v.view().sub_cols(h * c.dv, c.dv), slopes.v, 1e-5, "dv", isa);
    for (std::size_t i = 0; i < c.n; ++i) {
      if (mask.row(i).empty()) {
        EXPECT_EQ(lse[i * c.heads + h], -std::numeric_limits<float>::infinity()) << isa;
        for (std::size_t x = 0; x < c.dv; ++x) EXPECT_EQ(out.row(i)[h * c.dv + x], 0.0F) << isa;
      } else {
        EXPECT_NEAR(lse[i * c.heads + h], expected.lse[i], 1e-5) << isa;
        EXPECT_NEAR(half_lse[i * c.heads + h], expected.lse[i], 1e-5) << isa;
      }
    }
  }
}

void expect_right(const Case& c, const char* isa) { expect_right(some_mask(c), c, isa); }

TEST(GraphAttention, AgreesWithDoubleAtAwkwardSizesOnEveryIsa) {
  test::on_every_isa([](const char* isa) {
    for (const Case& c : {Case{0, 0, 8, 8, 1, 3},
                          {3, 0, 8, 8, 2, 3},
                          {1, 1, 1, 1, 1, 1},
                          {9, 40, 3, 5, 3, 6},
                          {20, 70, 17, 33, 2, 9},
                          {70, 90, 32, 32, 4, 12},
                          {150, 150, 8, 8, 5, 4},
                          {12, 30, 4, 12, 2, 7},
                          {12, 130, 64, 48, 1, 40},
                          {5, 60, 32, 40, 2, 40}}) {
      expect_right(c, isa);
    }
  });
}

TEST(GraphAttention, AnyHeadDimension) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 1; d < 40; ++d) expect_right({6, 20, d, 41 - d, 2, 6}, isa);
  });
}

// Heads of 16, 32, 64 and 128 values are worked on in groups, edges in blocks of 4, 8 or 16: every
// group, with heads left over, and rows around the sizes of the blocks.
TEST(GraphAttention, HeadsInGroupsAndEdgesInBlocks) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : {16U, 32U, 64U, 128U}) {
      for (const std::size_t heads : {1U, 2U, 5U}) {
        for (const std::size_t edges : {2U, 9U, 20U})
          expect_right({11, 40, d, d, heads, edges}, isa);
      }
    }
    expect_right({7, 30, 32, 32, 12, 8}, isa);
  });
}

TEST(GraphAttention, EveryLengthOfARow) {
  test::on_every_isa([](const char* isa) {
    std::vector<std::vector<std::uint32_t>> rows(70);
    for (std::size_t i = 0; i < rows.size(); ++i) {
      for (std::size_t e = 0; e < (i * 29) % 70; ++e) {
        rows[i].push_back(static_cast<std::uint32_t>((i * 3 + e) % 71));
      }
    }
    const CsrMask mask = CsrMask::from_rows(std::move(rows), 71);
    for (const std::size_t d : {16U, 32U, 64U, 128U}) {
      expect_right(mask, {mask.rows(), 71, d, d, 128 / d, 0}, isa);
    }
  });
}

// A band of rows, as a locality order gives, long enough for rows to be fetched ahead, and the same
// rows in no order.
TEST(GraphAttention, LongBandsAndNoOrder) {
  const std::size_t n = 900;
  Random random(17);
  std::vector<std::vector<std::uint32_t>> band(n), any(n);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t e = 0; e < i % 13; ++e) {
      const std::size_t near = i + random.below(90);
      band[i].push_back(static_cast<std::uint32_t>(near < 45 ? 0 : std::min(n - 1, near - 45)));
      any[i].push_back(static_cast<std::uint32_t>(random.below(n)));
    }
  }
  for (const auto& rows : {band, any}) {
    const CsrMask mask = CsrMask::from_rows(rows, n);
    expect_right(mask, {n, n, 32, 32, 4, 0}, "the best");
  }
}

Matrix repeated(const MatrixView& rows, std::size_t times) {
  Matrix m(rows.rows * times, rows.cols);
  for (std::size_t i = 0; i < m.rows(); ++i) {
    std::copy_n(rows.row(i % rows.rows), rows.cols, m.row(i));
  }
  return m;
}

// What backward writes over a large graph goes past the caches. Many copies of a small graph, whose
// rows lie elsewhere in their slabs, have the gradients of the one, to the byte, for any number of
// threads, and so do gradients that aren't aligned to cache lines.
TEST(GraphAttention, LargeGraphsHaveTheGradientsOfSmallOnes) {
  for (const std::size_t d : {16U, 32U, 128U}) {
    const std::size_t n = 173, copies = 100, heads = 160 / d, width = heads * d;
    Random random(23);
    std::vector<std::vector<std::uint32_t>> rows(n * copies);
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t e = 0; e < i % 40; ++e) {
        const auto column = static_cast<std::uint32_t>(random.below(n));
        for (std::size_t c = 0; c < copies; ++c) {
          rows[c * n + i].push_back(static_cast<std::uint32_t>(c * n) + column);
        }
      }
    }
    const CsrMask one_mask = CsrMask::from_rows({rows.begin(), rows.begin() + n}, n);
    const CsrMask mask = CsrMask::from_rows(std::move(rows), n * copies);
    const GraphAttentionOptions options{.heads = heads, .scale = 0.3F};
    const Matrix q = test::random_matrix(n, width, 1), k = test::random_matrix(n, width, 2);
    const Matrix v = test::random_matrix(n, width, 3), d_out = test::random_matrix(n, width, 4);
    const Matrix many_q = repeated(q, copies), many_k = repeated(k, copies);
    const Matrix many_v = repeated(v, copies), many_d_out = repeated(d_out, copies);
    const TransposedEdges one_edges = transposed_edges(one_mask), edges = transposed_edges(mask);
    GraphWorkspace workspace;
    for (const bool half : {false, true}) {
      Matrix one[3] = {Matrix(n, width), Matrix(n, width), Matrix(n, width)};
      const GraphGradients one_to{one[0], one[1], one[2]};
      if (half) {
        graph_attention_backward(q, HalfMatrix::rounded(k), HalfMatrix::rounded(v), one_mask,
                                 one_edges, options, {}, d_out, one_to, workspace, Executor(1));
      } else {
        graph_attention_backward(q, k, v, one_mask, one_edges, options, {}, d_out, one_to,
                                 workspace, Executor(1));
      }
      // 1 and 4 threads, and gradients a float off the lines.
      for (const std::size_t threads : {1U, 4U, 2U}) {
        const std::size_t off = threads == 2 ? 1 : 0;
        Matrix many[3] = {Matrix(n * copies, width + off), Matrix(n * copies, width + off),
                          Matrix(n * copies, width + off)};
        const auto part = [&](Matrix& m) {
          return MatrixSpan(m.data() + off, m.rows(), width, m.cols());
        };
        const GraphGradients to{part(many[0]), part(many[1]), part(many[2])};
        if (half) {
          graph_attention_backward(many_q, HalfMatrix::rounded(many_k), HalfMatrix::rounded(many_v),
                                   mask, edges, options, {}, many_d_out, to, workspace,
                                   Executor(threads));
        } else {
          graph_attention_backward(many_q, many_k, many_v, mask, edges, options, {}, many_d_out, to,
                                   workspace, Executor(threads));
        }
        for (std::size_t which = 0; which < 3; ++which) {
          for (std::size_t i = 0; i < n * copies; ++i) {
            ASSERT_TRUE(std::equal(one[which].row(i % n), one[which].row(i % n) + width,
                                   many[which].row(i) + off))
                << "d=" << d << " half=" << half << " threads=" << threads << " gradient " << which
                << " row " << i;
          }
        }
      }
    }
  }
}

// Gates of either sign, and sums into what was there, by the plain pass times the gates.
TEST(GraphAttention, GatesMaySubtractAndOutputsMayAddUp) {
  test::on_every_isa([](const char* isa) {
    for (const Case& c :
         {Case{20, 70, 17, 33, 2, 9}, {40, 50, 32, 32, 4, 12}, {9, 9, 64, 8, 3, 4}}) {
      const Executor one(1), four(4);
      const Matrix q = test::random_matrix(c.n, c.heads * c.d, 1);
      const Matrix k = test::random_matrix(c.m, c.heads * c.d, 2);
      const Matrix v = test::random_matrix(c.m, c.heads * c.dv, 3);
      const Matrix d_out = test::random_matrix(c.n, c.heads * c.dv, 4);
      const Matrix gates = test::random_matrix(c.n, c.heads, 5);
      const CsrMask mask = some_mask(c);
      GraphAttentionOptions options{.heads = c.heads, .scale = 0.4F};
      Matrix plain(c.n, c.heads * c.dv), gated = test::random_matrix(c.n, c.heads * c.dv, 6);
      const Matrix before = Matrix::copy_of(gated);
      graph_attention_forward(q, k, v, mask, options, plain, {}, one);

      // The gradients by a gated output are those by the plain one of gated slopes.
      Matrix gated_slopes = Matrix::copy_of(d_out);
      for (std::size_t i = 0; i < c.n; ++i) {
        for (std::size_t x = 0; x < c.heads * c.dv; ++x) {
          gated_slopes.row(i)[x] *= gates.row(i)[x / c.dv];
        }
      }
      const TransposedEdges edges = transposed_edges(mask);
      GraphWorkspace workspace;
      Matrix d_q(c.n, c.heads * c.d), d_k(c.m, c.heads * c.d), d_v(c.m, c.heads * c.dv);
      Matrix g_q(c.n, c.heads * c.d), g_k(c.m, c.heads * c.d), g_v(c.m, c.heads * c.dv);
      Matrix d_gates(c.n, c.heads);
      graph_attention_backward(q, k, v, mask, edges, options, {}, gated_slopes, {d_q, d_k, d_v},
                               workspace, one);
      options.gates = gates;
      options.add = true;
      graph_attention_forward(q, k, v, mask, options, gated, {}, four);
      graph_attention_backward(q, k, v, mask, edges, options, {}, d_out, {g_q, g_k, g_v, d_gates},
                               workspace, four);
      for (std::size_t i = 0; i < c.n; ++i) {
        for (std::size_t h = 0; h < c.heads; ++h) {
          double slope = 0;
          for (std::size_t x = h * c.dv; x < (h + 1) * c.dv; ++x) {
            EXPECT_NEAR(gated.row(i)[x], before.row(i)[x] + gates.row(i)[h] * plain.row(i)[x], 1e-5)
                << isa;
            slope += double{d_out.row(i)[x]} * plain.row(i)[x];
          }
          EXPECT_NEAR(d_gates.row(i)[h], slope, 1e-4) << isa;
        }
      }
      const auto expect_same = [&](const Matrix& x, const Matrix& y) {
        for (std::size_t i = 0; i < x.rows(); ++i) {
          for (std::size_t j = 0; j < x.cols(); ++j) {
            EXPECT_NEAR(x.row(i)[j], y.row(i)[j], 1e-4) << isa;
          }
        }
      };
      expect_same(g_q, d_q);
      expect_same(g_k, d_k);
      expect_same(g_v, d_v);
    }
  });
}

// The gradients of <d_out, out> by central differences of the forward pass in double: rows of 0, 1
// and several edges.
TEST(GraphAttention, GradientsAgreeWithFiniteDifferences) {
  const std::size_t n = 9, m = 12, d = 16, heads = 4;
  const Case c{n, m, d, d, heads, 5};
  const CsrMask mask = some_mask(c);
  const auto allowed = [&](std::size_t i, std::size_t j) { return mask.contains(i, j); };
  const Matrix d_out = test::random_matrix(n, heads * d, 4);
  Matrix inputs[3] = {test::random_matrix(n, heads * d, 1), test::random_matrix(m, heads * d, 2),
                      test::random_matrix(m, heads * d, 3)};
  const auto loss = [&] {
    double sum = 0;
    for (std::size_t h = 0; h < heads; ++h) {
      const auto part = [&](const Matrix& x) { return x.view().sub_cols(h * d, d); };
      const auto out =
          reference::attention(part(inputs[0]), part(inputs[1]), part(inputs[2]), 0.4, allowed).out;
      for (std::size_t x = 0; x < out.size(); ++x) sum += out[x] * part(d_out).row(x / d)[x % d];
    }
    return sum;
  };
  test::on_every_isa([&](const char* isa) {
    Matrix gradients[3] = {Matrix(n, heads * d), Matrix(m, heads * d), Matrix(m, heads * d)};
    GraphWorkspace workspace;
    graph_attention_backward(inputs[0], inputs[1], inputs[2], mask, transposed_edges(mask),
                             {.heads = heads, .scale = 0.4F}, {}, d_out,
                             {gradients[0], gradients[1], gradients[2]}, workspace, Executor(1));
    for (std::size_t which = 0; which < 3; ++which) {
      for (std::size_t i = 0; i < inputs[which].rows(); ++i) {
        for (std::size_t column = i % 5; column < heads * d; column += 13) {
          float& x = inputs[which].row(i)[column];
          const float before = x, step = 0.0078125F;
          x = before + step;
          const double above = loss();
          x = before - step;
          const double below = loss();
          x = before;
          ASSERT_NEAR(gradients[which].row(i)[column], (above - below) / (2 * double{step}), 3e-4)
              << isa << " input " << which << " (" << i << ", " << column << ")";
        }
      }
    }
  });
}

// A row's best edge weighs e^sharpness times its worst, whatever the scale of its scores.
TEST(GraphAttention, SharpnessStretchesTheScores) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : {5U, 16U, 33U, 128U}) {
      const Case c{40, 50, d, d, 2, 9};
      const CsrMask mask = some_mask(c);
      const Matrix q = test::random_matrix(c.n, 2 * d, 1), k = test::random_matrix(c.m, 2 * d, 2);
      const Matrix v = test::random_matrix(c.m, 2 * d, 3);
      Matrix out(c.n, 2 * d), again(c.n, 2 * d);
      const GraphAttentionOptions options{.heads = 2, .scale = 0.7F, .sharpness = 4.0F};
      graph_attention_forward(q, k, v, mask, options, out, {}, Executor(1));
      graph_attention_forward(q, k, v, mask, options, again, {}, Executor(4));
      ASSERT_TRUE(test::same_bytes(out, again)) << isa;
      for (std::size_t i = 0; i < c.n; ++i) {
        for (std::size_t h = 0; h < 2; ++h) {
          const auto expected =
              test::row_adaptive_row(q.row(i) + h * d, k.view().sub_cols(h * d, d),
                                     v.view().sub_cols(h * d, d), mask.row(i), 4.0);
          for (std::size_t x = 0; x < d; ++x) {
            ASSERT_NEAR(out.row(i)[h * d + x], expected[x], 3e-5) << isa << " d=" << d;
          }
        }
      }
    }
  });
}

TEST(GraphAttention, ScalesOfEitherSignAndZero) {
  test::on_every_isa([](const char* isa) {
    const Executor one(1);
    const Case c{6, 20, 8, 8, 1, 5};
    const Matrix q = test::random_matrix(c.n, c.d, 1), k = test::random_matrix(c.m, c.d, 2);
    const Matrix v = test::random_matrix(c.m, c.dv, 3);
    const CsrMask mask = some_mask(c);
    for (const float scale : {-3.0F, 0.0F, 50.0F}) {
      Matrix out(c.n, c.dv);
      graph_attention_forward(q, k, v, mask, {.scale = scale}, out, {}, one);
      const reference::Attention expected = reference::attention(
          q, k, v, scale, [&](std::size_t i, std::size_t j) { return mask.contains(i, j); });
      expect_near(out, expected.out, 1e-4, "out", isa);
    }
  });
}

}  // namespace
}  // namespace halo::kernels
