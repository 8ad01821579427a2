// Every gradient of LocalGlobalAttention against central differences of a plain double layer.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "gradient_check.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/sparse_mask.h"

namespace halo::attention {
namespace {

using test::expect_error;
using test::Values;
using Indices = std::vector<std::uint32_t>;
using Allowed = std::function<bool(std::size_t, std::size_t)>;

// The parameters as the constructor made them, with gates far from where they start.
LocalGlobalAttention moved(const LocalGlobalAttention& attention) {
  std::vector<Matrix> values;
  std::vector<NamedMatrix> named;
  for (const NamedMatrix& p : attention.named_parameters()) {
    if (!p.name.starts_with("gate")) continue;
    values.push_back(test::random_matrix(p.value.rows, p.value.cols, 30 + values.size()));
    named.push_back({p.name, values.back()});
  }
  return attention.with_parameters(named);
}

test::Plain plain_of(const LocalGlobalAttention& attention, const TensorView& x, GateLimit limit,
                     const Allowed& local) {
  const std::size_t d = attention.d_model(), width = attention.head_dim(), n = x.n;
  const GateMode mode = attention.gate_mode();
  const Indices globals(attention.global_indices().begin(), attention.global_indices().end());
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  return test::plain_layer(
      x, attention.num_heads(), attention.named_parameters(),
      [=](const std::map<std::string, Values>& in, std::size_t b, std::size_t h, const Values& q,
          const Values& k, const Values& v) {
        Values out = test::plain_attention(q, k, v, width, scale, local);
        if (globals.empty()) return out;
        const Values global =
            test::plain_attention(q, k, v, width, scale, [&](std::size_t, std::size_t j) {
              return std::find(globals.begin(), globals.end(), j) != globals.end();
            });
        for (std::size_t i = 0; i < n; ++i) {
          bool has_local = false;
          for (std::size_t j = 0; j < n; ++j) has_local = has_local || local(i, j);
          for (std::size_t c = 0; c < width; ++c) {
            double& o = out[i * width + c];
            const double other = global[i * width + c];
            double g = 0.0;
            if (mode == GateMode::kSignedPerNode) {
              g = in.at("gate_bias")[h];
              for (std::size_t l = 0; l < d; ++l) {
                g += in.at("x")[(b * n + i) * d + l] * in.at("gate_weight")[h * d + l];
              }
            } else {
              g = in.at("gate")[h * width + c];
            }
            if (mode == GateMode::kConvex) {
              const double share = has_local ? 1 / (1 + std::exp(-g)) : 0.0;
              o = share * o + (1 - share) * other;
            } else {
              o += (limit == GateLimit::kTanh ? std::tanh(g) : g) * other;
            }
          }
        }
        return out;
      });
}

void check(const LocalGlobalAttention& attention, const Tensor& x, GateLimit limit,
           const Allowed& local, const CsrView* borrowed = nullptr) {
  const Tensor weights = test::random_tensor(x.batch(), x.n(), x.dim(), 77);
  test::check_layer_gradients(
      attention, x, weights, plain_of(attention, x, limit, local), 1e-5,
      [&](const Tensor& in, Tensor& out, SavedForward& saved, const Executor& executor) {
        attention.forward(in, borrowed, out, saved, executor);
        EXPECT_TRUE(borrowed != nullptr || test::same_bytes(out, attention.forward(in)));
      });
}

AttentionOptions glorot(GateMode mode, GateLimit limit) {
  return {.initialisation = Initialisation::kGlorot, .seed = 8, .gate = mode, .gate_limit = limit};
}

// Rows of an empty, a short and a long neighbourhood.
CsrMask ragged_mask(std::size_t n) {
  std::vector<Indices> rows(n);
  for (std::size_t i = 0; i < n; i += 2) {
    for (std::size_t j = 0; j < n; j += 1 + i) rows[i].push_back(static_cast<std::uint32_t>(j));
  }
  return CsrMask::from_rows(rows, n);
}

TEST(LocalGlobalBackward, EveryGradientInEveryModeOverAWindowAndAMask) {
  for (const std::size_t n : {1U, 2U, 9U}) {
    const Tensor x = test::random_tensor(2, n, 6, n);
    const auto mask = std::make_shared<const CsrMask>(ragged_mask(n));
    for (const GateMode mode : {GateMode::kConvex, GateMode::kSigned, GateMode::kSignedPerNode}) {
      for (const GateLimit limit : {GateLimit::kTanh, GateLimit::kNone}) {
        for (const Indices& globals :
             {Indices{static_cast<std::uint32_t>(n - 1), 0, 0}, Indices{}}) {
          SCOPED_TRACE("n " + std::to_string(n) + ", mode " +
                       std::to_string(static_cast<int>(mode)) + ", globals " +
                       std::to_string(globals.size()));
          check(moved(LocalGlobalAttention(6, 2, std::size_t{2}, globals, glorot(mode, limit))), x,
                limit, [](std::size_t i, std::size_t j) { return (i > j ? i - j : j - i) <= 2; });
          check(moved(LocalGlobalAttention(6, 2, mask, globals, glorot(mode, limit))), x, limit,
                [&](std::size_t i, std::size_t j) { return mask->contains(i, j); });
        }
      }
    }
  }
}

TEST(LocalGlobalBackward, ABorrowedMaskAndAllRowsEmpty) {
  const Tensor x = test::random_tensor(1, 7, 6, 4);
  const LocalGlobalAttention attention = moved(LocalGlobalAttention(
      6, 2, std::size_t{3}, Indices{2, 5}, glorot(GateMode::kConvex, GateLimit::kTanh)));
  const CsrMask ragged = ragged_mask(7);
  const CsrView view = ragged;
  check(
      attention, x, GateLimit::kTanh,
      [&](std::size_t i, std::size_t j) { return ragged.contains(i, j); }, &view);
  const CsrMask empty = CsrMask::from_rows(std::vector<Indices>(7), 7);
  const CsrView none = empty;
  check(
      attention, x, GateLimit::kTanh, [](std::size_t, std::size_t) { return false; }, &none);
}

TEST(LocalGlobalBackward, GradientsAddUpAndAreCleared) {
  const Executor executor(1);
  const LocalGlobalAttention attention = moved(LocalGlobalAttention(
      6, 2, std::size_t{2}, Indices{0}, glorot(GateMode::kSignedPerNode, GateLimit::kTanh)));
  const Tensor x = test::random_tensor(1, 9, 6, 1), d_out = test::random_tensor(1, 9, 6, 2);
  Tensor out(1, 9, 6);
  SavedForward saved;
  Gradients once(attention.named_parameters()), twice(attention.named_parameters());
  for (int round = 0; round < 2; ++round) {
    attention.forward(x, nullptr, out, saved, executor);
    attention.backward(x, d_out, saved, nullptr, twice, executor);
    if (round == 0) attention.backward(x, d_out, saved, nullptr, once, executor);
    if (round == 0) once.clear();
  }
  attention.backward(x, d_out, saved, nullptr, once, executor);
  for (const NamedMatrix& g : once.named()) {
    const MatrixView both = twice.at(g.name);
    for (std::size_t i = 0; i < both.rows; ++i) {
      for (std::size_t c = 0; c < both.cols; ++c) {
        EXPECT_FLOAT_EQ(both.row(i)[c], 2 * g.value.row(i)[c]) << g.name;
      }
    }
  }
  expect_error(ErrorCode::kInvalidArgument, "w_x", [&] { once.at("w_x"); });
}

// The GNN loop changes the global nodes of a copy: the backward pass is that of the call.
TEST(LocalGlobalBackward, BelongsToTheForwardPassNotToWhatTheLayerIsNow) {
  const Executor executor(1);
  LocalGlobalAttention attention = moved(LocalGlobalAttention(
      6, 2, std::size_t{2}, Indices{0}, glorot(GateMode::kSigned, GateLimit::kTanh)));
  const Tensor x = test::random_tensor(1, 9, 6, 1), d_out = test::random_tensor(1, 9, 6, 2);
  Tensor out(1, 9, 6), d_x(1, 9, 6), d_x_again(1, 9, 6);
  const TensorSpan span = d_x, span_again = d_x_again;
  SavedForward saved;
  Gradients gradients(attention.named_parameters());
  attention.forward(x, nullptr, out, saved, executor);
  attention.backward(x, d_out, saved, &span, gradients, executor);
  attention.update_global_indices(Indices{3, 4});
  attention.update_window(0);
  attention.backward(x, d_out, saved, &span_again, gradients, executor);
  EXPECT_TRUE(test::same_bytes(d_x, d_x_again));
}

TEST(LocalGlobalBackward, RefusesWhatDoesNotBelongTogether) {
  const Executor executor(1);
  const LocalGlobalAttention attention(6, 2, std::size_t{2}, Indices{0});
  const LocalGlobalAttention other(6, 2, std::size_t{2}, Indices{0});
  const Tensor x = test::random_tensor(1, 9, 6, 1), narrow(1, 9, 5), shorter(1, 8, 6);
  Tensor out(1, 9, 6), bad = test::random_tensor(1, 9, 6, 1);
  SavedForward saved;
  Gradients gradients(attention.named_parameters());
  const auto backward = [&](const LocalGlobalAttention& a, const Tensor& in, const Tensor& d_out) {
    a.backward(in, d_out, saved, nullptr, gradients, executor);
  };
  expect_error(ErrorCode::kInvalidArgument, "forward pass", [&] { backward(attention, x, x); });
  attention.forward(x, nullptr, out, saved, executor);
  EXPECT_GT(saved.bytes(), 9U * 6U * 4U * sizeof(float));
  expect_error(ErrorCode::kInvalidArgument, "forward pass", [&] { backward(other, x, x); });
  expect_error(ErrorCode::kInvalidArgument, "forward pass",
               [&] { backward(attention, shorter, shorter); });
  expect_error(ErrorCode::kDimensionMismatch, "1 x 9 x 5", [&] { backward(attention, x, narrow); });
  bad.data()[6 * 3] = std::nanf("");
  expect_error(ErrorCode::kNonFinite, "row 3", [&] { backward(attention, x, bad); });
}

TEST(LocalGlobalBackward, EmptySequencesAndBatches) {
  const Executor executor(1);
  const LocalGlobalAttention attention(6, 2, std::size_t{2}, Indices{});
  for (const auto& [batch, n] : {std::pair<std::size_t, std::size_t>{2, 0}, {0, 4}}) {
    const Tensor x(batch, n, 6);
    Tensor out(batch, n, 6);
    SavedForward saved;
    Gradients gradients(attention.named_parameters());
    attention.forward(x, nullptr, out, saved, executor);
    attention.backward(x, x, saved, nullptr, gradients, executor);
    for (const NamedMatrix& g : gradients.named()) EXPECT_EQ(g.value.row(0)[0], 0.0F) << g.name;
  }
}

}  // namespace
}  // namespace halo::attention
