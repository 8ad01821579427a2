#include "halo/attention/local_global_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <thread>

#include "attention_test_support.h"
#include "halo/attention/hnsw_mask.h"
#include "halo/attention/reference.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

using test::expect_error;
using Indices = std::vector<std::uint32_t>;

AttentionOptions glorot(GateMode mode, GateLimit limit = GateLimit::kTanh) {
  return {.initialisation = Initialisation::kGlorot, .seed = 8, .gate = mode, .gate_limit = limit};
}

// The same attention with gates far from where they start.
LocalGlobalAttention with_random_gates(const LocalGlobalAttention& attention) {
  std::vector<Matrix> values;
  std::vector<NamedMatrix> named;
  for (const NamedMatrix& p : attention.named_parameters()) {
    if (p.name.starts_with("gate")) {
      values.push_back(test::random_matrix(p.value.rows, p.value.cols, 30 + values.size()));
      named.push_back({p.name, values.back()});
    }
  }
  return attention.with_parameters(named);
}

MatrixView parameter(const LocalGlobalAttention& attention, const std::string& name) {
  for (const NamedMatrix& p : attention.named_parameters()) {
    if (p.name == name) return p.value;
  }
  ADD_FAILURE() << "no parameter " << name;
  return {};
}

// The layer for one item, from the reference kernels and the documented formulas of the gates.
std::vector<double> plain(const LocalGlobalAttention& a, const MatrixView& x, const CsrView& local,
                          GateLimit limit) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(a.head_dim()));
  const std::size_t d = a.head_dim();
  return test::plain_layer(
      x, a.projections(),
      [&](std::size_t h, const MatrixView& q, const MatrixView& k, const MatrixView& v) {
        auto out = reference::csr_attention(q, k, v, local, scale);
        if (a.global_indices().empty()) return out;
        const auto global = reference::global_attention(q, k, v, a.global_indices(), scale);
        for (std::size_t i = 0; i < x.rows; ++i) {
          for (std::size_t c = 0; c < d; ++c) {
            double& o = out[i * d + c];
            const double other = global[i * d + c];
            if (a.gate_mode() == GateMode::kConvex) {
              const double g =
                  1 / (1 + std::exp(-static_cast<double>(parameter(a, "gate").row(h)[c])));
              o = local.row(i).empty() ? other : g * o + (1 - g) * other;
              continue;
            }
            double g = 0.0;
            if (a.gate_mode() == GateMode::kSigned) {
              g = static_cast<double>(parameter(a, "gate").row(h)[c]);
            } else {
              g = static_cast<double>(parameter(a, "gate_bias").row(0)[h]);
              const float* w = parameter(a, "gate_weight").row(h);
              for (std::size_t l = 0; l < x.cols; ++l) {
                g += static_cast<double>(x.row(i)[l]) * static_cast<double>(w[l]);
              }
            }
            o += (limit == GateLimit::kTanh ? std::tanh(g) : g) * other;
          }
        }
        return out;
      });
}

TEST(LocalGlobalAttention, AgreesWithThePlainLayerInEveryMode) {
  for (const std::size_t n : {1U, 2U, 17U, 100U}) {
    for (const GateMode mode : {GateMode::kConvex, GateMode::kSigned, GateMode::kSignedPerNode}) {
      for (const GateLimit limit : {GateLimit::kTanh, GateLimit::kNone}) {
        const Indices globals{static_cast<std::uint32_t>(n - 1), 0, 0};
        const Tensor x = test::random_tensor(2, n, 15, n);
        const LocalGlobalAttention by_window = with_random_gates(
            LocalGlobalAttention(15, 3, std::size_t{4}, globals, glorot(mode, limit)));
        // Rows of an empty, a short and a long neighbourhood.
        std::vector<std::vector<std::uint32_t>> rows(n);
        for (std::size_t i = 0; i < n; i += 2) {
          for (std::size_t j = 0; j < n; j += 1 + i)
            rows[i].push_back(static_cast<std::uint32_t>(j));
        }
        const auto mask = std::make_shared<const CsrMask>(CsrMask::from_rows(rows, n));
        const LocalGlobalAttention by_mask =
            with_random_gates(LocalGlobalAttention(15, 3, mask, globals, glorot(mode, limit)));
        const Tensor window_out = by_window.forward(x), mask_out = by_mask.forward(x);
        for (std::size_t b = 0; b < 2; ++b) {
          test::expect_close(window_out.item(b),
                             plain(by_window, x.item(b), SparseMask::local_window(n, 4), limit));
          test::expect_close(mask_out.item(b), plain(by_mask, x.item(b), *mask, limit));
        }
      }
    }
  }
}

TEST(LocalGlobalAttention, EmptySequencesAndBatches) {
  const LocalGlobalAttention attention(8, 2, std::size_t{2}, Indices{});
  EXPECT_EQ(attention.forward(Tensor(3, 0, 8)).batch(), 3U);
  EXPECT_EQ(attention.forward(Tensor(0, 5, 8)).n(), 5U);
}

// Trap: the notes blend with zeros, which halves the output.
TEST(LocalGlobalAttention, WithoutGlobalsTheOutputIsTheLocalPart) {
  for (const GateMode mode : {GateMode::kConvex, GateMode::kSigned, GateMode::kSignedPerNode}) {
    const LocalGlobalAttention attention =
        with_random_gates(LocalGlobalAttention(12, 2, std::size_t{3}, Indices{}, glorot(mode)));
    const Tensor x = test::random_tensor(1, 20, 12, 1);
    test::expect_close(
        attention.forward(x).item(0),
        plain(attention, x.item(0), SparseMask::local_window(20, 3), GateLimit::kTanh));
  }
  // Through identity projections and a window of the row itself, the output is the input.
  const Tensor x = test::random_tensor(1, 20, 12, 1);
  const LocalGlobalAttention copy(12, 2, std::size_t{0}, Indices{});
  test::expect_same_bytes(copy.forward(x).item(0), x.item(0));
}

// Trap: the notes leave an out-of-range index in the softmax with logit 0.
TEST(LocalGlobalAttention, OutOfRangeGlobalsAreRefusedByForward) {
  LocalGlobalAttention attention(8, 2, std::size_t{2}, Indices{});
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  const Tensor before = attention.forward(x);
  attention.update_global_indices(Indices{3, 10});
  expect_error(ErrorCode::kInvalidArgument, "global index 10", [&] { attention.forward(x); });
  EXPECT_NO_THROW(attention.forward(test::random_tensor(1, 11, 8, 1)));
  attention.update_global_indices(Indices{});
  EXPECT_TRUE(test::same_bytes(attention.forward(x), before));
}

// Trap: the notes count a duplicate twice.
TEST(LocalGlobalAttention, DuplicateGlobalsCountOnce) {
  const LocalGlobalAttention twice(8, 2, std::size_t{2}, Indices{7, 1, 7, 7});
  const LocalGlobalAttention once(8, 2, std::size_t{2}, Indices{1, 7});
  EXPECT_EQ(twice.global_indices().size(), 2U);
  const Tensor x = test::random_tensor(2, 10, 8, 1);
  EXPECT_TRUE(test::same_bytes(twice.forward(x), once.forward(x)));
}

// Trap: a row that may attend to nothing must be zero, not NaN.
TEST(LocalGlobalAttention, AllRowsEmptyGivesZeros) {
  const auto empty = std::make_shared<const CsrMask>(
      CsrMask::from_rows(std::vector<std::vector<std::uint32_t>>(10), 10));
  const LocalGlobalAttention attention(8, 2, empty, Indices{}, glorot(GateMode::kConvex));
  test::expect_close(attention.forward(test::random_tensor(1, 10, 8, 1)).item(0),
                     std::vector<double>(80, 0.0));
}

// Trap: the convex gate cannot subtract; the signed one can.
TEST(LocalGlobalAttention, ASignedGateSubtracts) {
  Matrix minus_one(2, 4);
  for (std::size_t i = 0; i < 8; ++i) minus_one.data()[i] = -1.0F;
  const std::vector<NamedMatrix> gate{{"gate", minus_one}};
  const LocalGlobalAttention attention =
      LocalGlobalAttention(8, 2, std::size_t{0}, Indices{4},
                           {.gate = GateMode::kSigned, .gate_limit = GateLimit::kNone})
          .with_parameters(gate);
  const Tensor x = test::random_tensor(1, 6, 8, 1);
  const Tensor out = attention.forward(x);
  for (std::size_t i = 0; i < 6; ++i) {
    for (std::size_t c = 0; c < 8; ++c) {
      EXPECT_NEAR(out.item(0).row(i)[c], x.item(0).row(i)[c] - x.item(0).row(4)[c], 1e-5);
    }
  }
}

TEST(LocalGlobalAttention, AWindowIsItsMask) {
  const Tensor x = test::random_tensor(2, 30, 12, 1);
  const Executor executor(2);
  const LocalGlobalAttention attention(12, 3, std::size_t{5}, Indices{2, 29},
                                       glorot(GateMode::kConvex));
  const CsrMask mask = SparseMask::local_window(30, 5);
  const Tensor by_window = attention.forward(x, executor);
  const Tensor by_mask = attention.forward(x, mask, executor);
  test::expect_close(by_mask.view().flat(), {by_window.data(), by_window.data() + 2 * 30 * 12});
}

TEST(LocalGlobalAttention, AWindowOverEverythingIsStandardAttention) {
  const Tensor x = test::random_tensor(1, 25, 12, 1);
  const LocalGlobalAttention attention(12, 3, std::numeric_limits<std::size_t>::max(), Indices{},
                                       glorot(GateMode::kConvex));
  const double scale = 0.5;
  test::expect_close(attention.forward(x).item(0),
                     test::plain_layer(x.item(0), attention.projections(),
                                       [&](std::size_t, const MatrixView& q, const MatrixView& k,
                                           const MatrixView& v) {
                                         return reference::standard_attention(q, k, v, scale);
                                       }));
}

TEST(LocalGlobalAttention, SameBytesOnAnyNumberOfThreadsAndItemsIndependent) {
  const Executor one(1), four(4);
  const Tensor x = test::random_tensor(3, 150, 24, 1);
  for (const GateMode mode : {GateMode::kConvex, GateMode::kSignedPerNode}) {
    const LocalGlobalAttention attention = with_random_gates(
        LocalGlobalAttention(24, 4, std::size_t{6}, Indices{0, 75, 149}, glorot(mode)));
    const Tensor out = attention.forward(x, one);
    EXPECT_TRUE(test::same_bytes(out, attention.forward(x, four)));
    for (std::size_t b = 0; b < 3; ++b) {
      test::expect_same_bytes(attention.forward(x.item(b)).item(0), out.item(b));
    }
  }
}

TEST(LocalGlobalAttention, CopiesShareParametersAndChangeAlone) {
  const LocalGlobalAttention attention(8, 2, std::size_t{2}, Indices{1});
  LocalGlobalAttention copy = attention;
  EXPECT_EQ(&copy.projections(), &attention.projections());
  copy.update_global_indices(Indices{5});
  copy.update_window(3);
  EXPECT_EQ(attention.global_indices()[0], 1U);
  EXPECT_EQ(attention.window_size(), 2U);
  const auto mask = std::make_shared<const CsrMask>(SparseMask::local_window(9, 1));
  copy.update_local_mask(mask);
  EXPECT_EQ(copy.local_mask(), mask);
  EXPECT_EQ(attention.local_mask(), nullptr);
}

TEST(LocalGlobalAttention, TwoThreadsUseOneObject) {
  const LocalGlobalAttention attention(16, 2, std::size_t{4}, Indices{0, 9},
                                       glorot(GateMode::kConvex));
  const Executor executor(2);
  const Tensor x = test::random_tensor(1, 80, 16, 1);
  const Tensor want = attention.forward(x);
  bool same[2] = {false, false};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        LocalGlobalAttention own = attention;
        own.update_global_indices(Indices{static_cast<std::uint32_t>(t)});
        const Tensor other = own.forward(x, executor);
        same[t] = test::same_bytes(attention.forward(x, executor), want) &&
                  !test::same_bytes(other, want);
      });
    }
  }
  EXPECT_TRUE(same[0] && same[1]);
}

TEST(LocalGlobalAttention, ParametersRoundTrip) {
  const LocalGlobalAttention trained = with_random_gates(
      LocalGlobalAttention(12, 3, std::size_t{3}, Indices{0}, glorot(GateMode::kSignedPerNode)));
  const auto named = trained.named_parameters();
  ASSERT_EQ(named.size(), 6U);
  EXPECT_EQ(named[4].name, "gate_weight");
  const LocalGlobalAttention fresh(12, 3, std::size_t{3}, Indices{0},
                                   {.gate = GateMode::kSignedPerNode});
  const Tensor x = test::random_tensor(1, 11, 12, 2);
  EXPECT_TRUE(test::same_bytes(fresh.with_parameters(named).forward(x), trained.forward(x)));
  EXPECT_FALSE(test::same_bytes(fresh.forward(x), trained.forward(x)));
}

// The seed's example 1: window 4, globals from layers 1 and up, d_model 512, 8 heads.
TEST(LocalGlobalAttention, TheNotesExample) {
  const LocalGlobalAttention attention(512, 8, std::size_t{4}, Indices{0, 2, 4, 6, 0, 4});
  const Tensor out = attention.forward(test::random_tensor(2, 8, 512, 1));
  EXPECT_EQ(out.batch(), 2U);
  EXPECT_EQ(out.n(), 8U);
  EXPECT_EQ(out.dim(), 512U);
}

TEST(LocalGlobalAttention, WorkspaceStaysSmall) {
  // n = 2048, d = 512, 8 heads, window 64, 16 globals: under 1 MB a thread beyond Q, K, V and the
  // heads' outputs.
  const LocalGlobalAttention attention(
      512, 8, std::size_t{64}, Indices{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15});
  const Executor executor(2);
  Workspace workspace;
  Tensor out(1, 256, 512);
  attention.forward(test::random_tensor(1, 256, 512, 1), nullptr, out, workspace, executor);
  EXPECT_LT(workspace.bytes_beyond_qkv(), 256U * 512U * sizeof(float) + 2U * (1U << 20U));
}

TEST(LocalGlobalAttention, RefusesBadInput) {
  const Executor executor(1);
  const LocalGlobalAttention attention(8, 2, std::size_t{2}, Indices{});
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  expect_error(ErrorCode::kInvalidArgument, "multiple",
               [] { const LocalGlobalAttention a(9, 2, std::size_t{1}, Indices{}); });
  expect_error(ErrorCode::kInvalidArgument, "null", [] {
    const LocalGlobalAttention a(8, 2, std::shared_ptr<const CsrMask>(), Indices{});
  });
  expect_error(ErrorCode::kDimensionMismatch, "9 x 9",
               [&] { attention.forward(x, SparseMask::local_window(9, 1), executor); });
  const std::vector<std::uint64_t> offsets(11, 0);
  const std::vector<std::uint32_t> columns{1};
  expect_error(ErrorCode::kInvalidArgument, "row_offsets", [&] {
    attention.forward(x, CsrView{offsets, columns, 10}, executor);
  });
  expect_error(ErrorCode::kDimensionMismatch, "dimension 7",
               [&] { attention.forward(test::random_tensor(1, 10, 7, 1)); });
  Tensor bad = test::random_tensor(1, 10, 8, 1);
  bad.data()[8 * 4] = std::numeric_limits<float>::infinity();
  expect_error(ErrorCode::kNonFinite, "row 4", [&] { attention.forward(bad); });
}

}  // namespace
}  // namespace halo::attention
