// The faults of the seed notes, one test each that would have caught it. Details of each mechanism
// are in its own test file; here every mechanism meets the trap.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <set>

#include "attention_test_support.h"
#include "halo/attention/flash_attention.h"
#include "halo/attention/head_attention.h"
#include "halo/attention/linear_attention.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/reference.h"
#include "halo/attention/sparse_mask.h"
#include "halo/attention/standard_attention.h"

namespace halo::attention {
namespace {

using test::expect_error;
using Indices = std::vector<std::uint32_t>;
using Layer = std::function<Tensor(const Tensor&)>;

const AttentionOptions kGlorot{.initialisation = Initialisation::kGlorot, .seed = 3};

// Every mechanism, local patterns that everyone fits into included.
std::map<std::string, Layer> every_layer(std::size_t d, std::size_t heads, std::size_t n) {
  FlashAttention masked(d, heads, 5, kGlorot), blocked(d, heads, 5, kGlorot);
  masked.update_mask(std::make_shared<const CsrMask>(SparseMask::strided(n, 1, 4)));
  blocked.update_layers(n, 1, {});
  const Indices globals = n == 0 ? Indices{} : Indices{static_cast<std::uint32_t>(n - 1)};
  const auto mask = std::make_shared<const CsrMask>(SparseMask::local_window(n, 2));
  const auto layer = [](auto attention) -> Layer {
    return [attention](const Tensor& x) { return attention.forward(x, Executor(2)); };
  };
  return {{"standard", layer(StandardAttention(d, heads, kGlorot))},
          {"flash", layer(FlashAttention(d, heads, 5, kGlorot))},
          {"masked flash", layer(masked)},
          {"blocked flash", layer(blocked)},
          {"linear", layer(LinearAttention(d, heads, 12, kGlorot))},
          {"window", layer(LocalGlobalAttention(d, heads, std::size_t{2}, globals, kGlorot))},
          {"mask", layer(LocalGlobalAttention(d, heads, mask, globals, kGlorot))}};
}

// Omega was uniform in [-1, 1] and not orthogonal.
TEST(Traps, FavorDirectionsAreNormalAndOrthogonal) {
  const LinearAttention attention(64, 1, 128);
  const MatrixView omega = attention.features(0).directions();
  double squares = 0.0;
  for (std::size_t r = 0; r < 128; ++r) {
    for (std::size_t c = 0; c < 64; ++c) squares += std::pow(double{omega.row(r)[c]}, 2);
  }
  EXPECT_NEAR(squares / (128 * 64), 1.0, 0.1);
  double largest = 0.0;
  for (std::size_t a = 0; a < 64; ++a) {
    for (std::size_t b = 0; b < a; ++b) {
      double dot = 0.0;
      for (std::size_t c = 0; c < 64; ++c) dot += double{omega.row(a)[c]} * double{omega.row(b)[c]};
      largest = std::max(largest, std::fabs(dot));
    }
  }
  EXPECT_LT(largest, 1e-4);
}

// q and k must be scaled by d^(-1/4): flat attention is then estimated closely at any head_dim.
TEST(Traps, FavorScalesQueriesAndKeysByTheFourthRoot) {
  const Executor executor(1);
  for (const std::size_t d : {4U, 16U, 64U}) {
    Matrix q = test::random_matrix(64, d, 1), k = test::random_matrix(64, d, 2);
    const Matrix v = test::random_matrix(64, d, 3);
    for (Matrix* m : {&q, &k}) {
      for (std::size_t i = 0; i < 64; ++i) {
        for (float& value : m->span().row_span(i)) value *= 0.3F;
      }
    }
    const float scale = 1.0F / std::sqrt(static_cast<float>(d));
    Matrix out(64, d);
    linear_attention(q, k, v, RandomFeatures(4096, d, 1), scale, out, executor);
    const auto want = reference::standard_attention(q, k, v, static_cast<double>(scale));
    double squares = 0.0;
    for (std::size_t i = 0; i < 64; ++i) {
      for (std::size_t c = 0; c < d; ++c) {
        squares += std::pow(double{out.row(i)[c]} - want[i * d + c], 2);
      }
    }
    EXPECT_LT(std::sqrt(squares / static_cast<double>(64 * d)), 0.04) << d;
  }
}

// Without the stabilising maxima every denominator clamped at head_dim 64 and the output was 0.
TEST(Traps, FavorIsStabilisedAtHeadDim64AndFarBeyond) {
  const Executor executor(1);
  for (const float size : {1.0F, 10.0F, 100.0F}) {
    Matrix q = test::random_matrix(50, 64, 1), k = test::random_matrix(50, 64, 2);
    Matrix ones(50, 64), out(50, 64);
    for (std::size_t i = 0; i < 50; ++i) {
      for (std::size_t c = 0; c < 64; ++c) {
        q.row(i)[c] *= size;
        k.row(i)[c] *= size;
        ones.row(i)[c] = 1.0F;
      }
    }
    linear_attention(q, k, ones, RandomFeatures(256, 64, 1), 0.125F, out, executor);
    for (std::size_t i = 0; i < 50; ++i) {
      for (std::size_t c = 0; c < 64; ++c) ASSERT_NEAR(out.row(i)[c], 1.0F, 1e-3F) << size;
    }
  }
}

// An index outside the sequence kept logit 0 in the softmax.
TEST(Traps, OutOfRangeGlobalIndicesAreRefused) {
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  expect_error(ErrorCode::kInvalidArgument, "index 10", [&] {
    LocalGlobalAttention(8, 2, std::size_t{1}, Indices{0, 10}).forward(x);
  });
  Matrix out(10, 8);
  expect_error(ErrorCode::kInvalidArgument, "index 10", [&] {
    global_attention(x.item(0), x.item(0), x.item(0), Indices{10}, 1, out, Executor(1));
  });
  expect_error(ErrorCode::kInvalidArgument, "index 10",
               [&] { SparseMask::global_indices(10, Indices{10}); });
}

// No globals halved the output: the gate gave half of it to nothing.
TEST(Traps, WithoutGlobalsNothingIsHalved) {
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  for (const GateMode gate : {GateMode::kConvex, GateMode::kSigned, GateMode::kSignedPerNode}) {
    const LocalGlobalAttention attention(8, 2, std::size_t{20}, Indices{}, {.gate = gate});
    test::expect_close(attention.forward(x).item(0), [&] {
      const Tensor all = StandardAttention(8, 2).forward(x);
      return std::vector<double>(all.data(), all.data() + 80);
    }());
  }
}

TEST(Traps, DuplicateGlobalsCountOnce) {
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  EXPECT_TRUE(
      test::same_bytes(LocalGlobalAttention(8, 2, std::size_t{1}, Indices{7, 2, 7, 7}).forward(x),
                       LocalGlobalAttention(8, 2, std::size_t{1}, Indices{2, 7}).forward(x)));
}

// A row with no allowed column was 0 / 0.
TEST(Traps, RowsWithoutAColumnGiveZerosNotNaN) {
  const Tensor x = test::random_tensor(1, 6, 8, 1);
  for (const bool all : {false, true}) {
    std::vector<Indices> rows(6);
    if (!all) rows[2] = {0, 5};
    const auto mask = std::make_shared<const CsrMask>(CsrMask::from_rows(rows, 6));
    FlashAttention flash(8, 2, 1);
    flash.update_mask(mask);
    const Tensor by_mask = flash.forward(x);
    flash.update_blocks(std::make_shared<const BlockMask>(6, 1, CsrMask(*mask)));
    const Tensor by_blocks = flash.forward(x);
    const Tensor local = LocalGlobalAttention(8, 2, mask, Indices{}).forward(x);
    Tensor dense(1, 6, 8);
    masked_attention(x.item(0), x.item(0), x.item(0), *mask, 1, dense.item(0), Executor(1));
    for (const TensorView& out : {by_mask.view(), by_blocks.view(), local.view(), dense.view()}) {
      for (std::size_t i = 0; i < 6; ++i) {
        for (std::size_t c = 0; c < 8; ++c) {
          const float value = out.item(0).row(i)[c];
          ASSERT_TRUE(std::isfinite(value));
          ASSERT_TRUE(!rows[i].empty() || value == 0.0F);
        }
      }
    }
  }
}

// It drew until it had enough distinct columns: never, for a sparsity above 1; slowly, near 1.
TEST(Traps, RandomEndsForAnySparsityAndIsSeeded) {
  for (const double sparsity : {0.0, 1e-9, 0.5, 0.999, 1.0}) {
    const CsrMask mask = SparseMask::random(200, sparsity, 4);
    EXPECT_NEAR(SparseMask::sparsity(mask), sparsity, 0.005);
    EXPECT_EQ(mask, SparseMask::random(200, sparsity, 4));
  }
  for (const double sparsity : {-0.1, 1.5, std::nan("")}) {
    expect_error(ErrorCode::kInvalidArgument, "sparsity",
                 [&] { SparseMask::random(10, sparsity, 1); });
  }
}

TEST(Traps, TheConvexGateCannotSubtractAndTheSignedOneCanByNode) {
  // Two nodes whose global part is node 0; the gate follows the first feature's sign.
  Tensor x(1, 2, 2);
  x.data()[0] = 1.0F;
  x.data()[2] = -1.0F;
  Matrix weight(1, 2), bias(1, 1);
  weight.row(0)[0] = 50.0F;
  const std::vector<NamedMatrix> gate{{"gate_weight", weight}, {"gate_bias", bias}};
  const Tensor signed_out =
      LocalGlobalAttention(2, 1, std::size_t{0}, Indices{0}, {.gate = GateMode::kSignedPerNode})
          .with_parameters(gate)
          .forward(x);
  EXPECT_NEAR(signed_out.item(0).row(0)[0], 2.0F, 1e-5);   // 1 + 1
  EXPECT_NEAR(signed_out.item(0).row(1)[0], -2.0F, 1e-5);  // -1 - 1: subtracted
  for (const float g : {-50.0F, 0.0F, 50.0F}) {
    Matrix value(1, 2);
    value.row(0)[0] = value.row(0)[1] = g;
    const std::vector<NamedMatrix> convex{{"gate", value}};
    const float out = LocalGlobalAttention(2, 1, std::size_t{0}, Indices{0})
                          .with_parameters(convex)
                          .forward(x)
                          .item(0)
                          .row(1)[0];
    EXPECT_GE(out, -1.0F);
    EXPECT_LE(out, 1.0F);
  }
}

TEST(Traps, AWindowHolds2wPlus1Columns) {
  EXPECT_EQ(SparseMask::local_window(9, 2).row(4).size(), 5U);
  // Values that name their row: a window's mean of equal logits tells how many it saw.
  Matrix zeros(9, 1), v(9, 1), out(9, 1);
  v.row(6)[0] = 1.0F;
  window_attention(zeros, zeros, v, 2, 1, out, Executor(1));
  for (std::size_t i = 0; i < 9; ++i) {
    EXPECT_NEAR(out.row(i)[0], i < 4 ? 0.0F : (i < 7 ? 0.2F : (i == 7 ? 0.25F : 1.0F / 3.0F)),
                1e-6);
  }
}

// n = 0, n = 1, n not a multiple of any block, d_h not a multiple of a SIMD width.
TEST(Traps, AwkwardShapesInEveryMechanism) {
  for (const std::size_t n : {0U, 1U, 3U, 65U, 97U, 131U}) {
    for (const std::size_t d : {3U, 10U, 34U}) {
      const Tensor x = test::random_tensor(2, n, d, n);
      for (const auto& [name, layer] : every_layer(d, d % 2 == 0 ? 2 : 1, n)) {
        const Tensor out = layer(x);
        ASSERT_EQ(out.n(), n) << name;
        for (std::size_t i = 0; i < 2 * n * d; ++i) {
          ASSERT_TRUE(std::isfinite(out.data()[i])) << name << ", n " << n << ", d " << d;
        }
        if (n == 0) continue;
        // The last row, alone in its tile, has an output of its own.
        double size = 0.0;
        for (std::size_t c = 0; c < d; ++c) {
          size += std::fabs(double{out.item(1).row(n - 1)[c]});
        }
        EXPECT_GT(size, 0.0) << name << ", n " << n << ", d " << d;
      }
    }
  }
}

// from_layers over layer 0 allows everything: n^2 entries.
TEST(Traps, LayerZeroIsImplicitAndRefusedAsStoredEntries) {
  const std::size_t n = 100000;
  Indices all(n);
  for (std::size_t i = 0; i < n; ++i) all[i] = static_cast<std::uint32_t>(i);
  const LayerMask mask = HnswMask::from_layers(n, {all, {7}});
  EXPECT_EQ(mask.entries(), std::uint64_t{n} * n);
  expect_error(ErrorCode::kInvalidArgument, "leave layer 0 out", [&] { mask.to_csr(); });
}

}  // namespace
}  // namespace halo::attention
