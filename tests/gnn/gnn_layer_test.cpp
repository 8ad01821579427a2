#include "halo/gnn/gnn_layer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "halo/attention/sparse_mask.h"
#include "halo/gnn/layer_norm.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

using attention::LocalGlobalAttention;
using attention::Tensor;
using test::expect_error;

constexpr std::size_t kRows = 40, kModel = 12;
const std::vector<std::uint32_t> kGlobals{0, 17};
const attention::AttentionOptions kGlorot{.initialisation = attention::Initialisation::kGlorot};

LocalGlobalAttention make_attention(std::size_t d = kModel) {
  return LocalGlobalAttention(d, 3, std::size_t{4}, kGlobals, kGlorot);
}

Matrix plain_sum(const MatrixView& x, const MatrixView& attended, float r) {
  Matrix sum = Matrix::copy_of(attended);
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t c = 0; c < x.cols; ++c) sum.row(i)[c] += r * x.row(i)[c];
  }
  return sum;
}

void expect_near(const MatrixView& a, const MatrixView& b) {
  ASSERT_EQ(a.rows, b.rows);
  for (std::size_t i = 0; i < a.rows; ++i) {
    for (std::size_t c = 0; c < a.cols; ++c) ASSERT_NEAR(a.row(i)[c], b.row(i)[c], 1e-5);
  }
}

TEST(GnnLayer, IsNormOfResidualAndAttention) {
  const Executor executor(2);
  const Matrix x = test::random_matrix(kRows, kModel, 1);
  const LocalGlobalAttention attention = make_attention();
  const std::vector<float> ones(kModel, 1.0F), zeros(kModel, 0.0F);
  for (const Norm norm : {Norm::kNone, Norm::kL2, Norm::kPostLayer, Norm::kPreLayer}) {
    const GnnLayer layer(kModel, {.norm = norm, .residual_weight = 0.5F});
    Matrix input = Matrix::copy_of(x);
    if (norm == Norm::kPreLayer) layer_norm(input, ones, zeros, 1e-5F, executor);
    const Tensor attended = attention.forward(input, executor);
    Matrix want = plain_sum(x, attended.item(0), 0.5F);
    if (norm == Norm::kL2) l2_normalise(want, executor);
    if (norm == Norm::kPostLayer) layer_norm(want, ones, zeros, 1e-5F, executor);
    expect_near(layer.forward(x, attention, executor).item(0), want);
  }
}

TEST(GnnLayer, ABorrowedMaskReplacesTheLocalPattern) {
  const Executor executor(1);
  const Matrix x = test::random_matrix(kRows, kModel, 1);
  LocalGlobalAttention attention = make_attention();
  const CsrMask mask = attention::SparseMask::random(kRows, 0.2, 1);
  const GnnLayer layer(kModel);
  const Tensor borrowed = layer.forward(x, attention, mask, executor);
  attention.update_local_mask(std::make_shared<const CsrMask>(mask));
  const Tensor own = layer.forward(x, attention, executor);
  EXPECT_EQ(std::memcmp(borrowed.data(), own.data(), kRows * kModel * sizeof(float)), 0);
}

TEST(GnnLayer, AZeroOutputProjectionMakesItTheIdentity) {
  const Executor executor(1);
  const Matrix x = test::random_matrix(kRows, kModel, 1);
  const LocalGlobalAttention attention(
      kModel, 3, std::size_t{4}, kGlobals,
      {.initialisation = attention::Initialisation::kGlorotZeroOutput});
  expect_near(GnnLayer(kModel, {.norm = Norm::kNone}).forward(x, attention, executor).item(0), x);
}

TEST(GnnLayer, NormParametersAreNamedAndReplaceable) {
  const Executor executor(1);
  const Matrix x = test::random_matrix(kRows, kModel, 1), gain = test::random_matrix(1, kModel, 2),
               bias = test::random_matrix(1, kModel, 3);
  const GnnLayer plain(kModel, {.norm = Norm::kPostLayer});
  const std::vector<attention::NamedMatrix> values{{"norm_gain", gain}, {"norm_bias", bias}};
  const GnnLayer changed = plain.with_parameters(values);
  ASSERT_EQ(changed.named_parameters().size(), 2U);
  const Tensor a = plain.forward(x, make_attention(), executor);
  const Tensor b = changed.forward(x, make_attention(), executor);
  for (std::size_t i = 0; i < kRows; ++i) {
    for (std::size_t c = 0; c < kModel; ++c) {
      ASSERT_NEAR(b.item(0).row(i)[c], a.item(0).row(i)[c] * gain.row(0)[c] + bias.row(0)[c], 1e-5);
    }
  }
  EXPECT_TRUE(GnnLayer(kModel).named_parameters().empty());
  expect_error(ErrorCode::kInvalidArgument, "norm_bias",
               [&] { GnnLayer(kModel).with_parameters(values); });
}

TEST(GnnLayer, RefusesBadOptionsAndDimensions) {
  const Executor executor(1);
  const Matrix x = test::random_matrix(kRows, kModel, 1), narrow = test::random_matrix(kRows, 9, 1);
  expect_error(ErrorCode::kInvalidArgument, "d_model", [] { const GnnLayer l(0); });
  expect_error(ErrorCode::kInvalidArgument, "epsilon", [] { const GnnLayer l(4, {.epsilon = 0}); });
  expect_error(ErrorCode::kInvalidArgument, "residual_weight",
               [] { const GnnLayer l(4, {.residual_weight = std::nanf("")}); });
  expect_error(ErrorCode::kInvalidArgument, "norm 9",
               [] { const GnnLayer l(4, {.norm = static_cast<Norm>(9)}); });
  const GnnLayer layer(kModel);
  expect_error(ErrorCode::kDimensionMismatch, "attention is 9",
               [&] { layer.forward(x, make_attention(9), executor); });
  expect_error(ErrorCode::kDimensionMismatch, "input is 9",
               [&] { layer.forward(narrow, make_attention(), executor); });
}

}  // namespace
}  // namespace halo::gnn
