#include "halo/attention/standard_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention_test_support.h"
#include "gradient_check.h"
#include "halo/attention/reference.h"

namespace halo::attention {
namespace {

using test::expect_error;
const AttentionOptions kGlorot{.initialisation = Initialisation::kGlorot, .seed = 4};

TEST(StandardAttention, AgreesWithThePlainLayer) {
  for (const std::size_t n : {0U, 1U, 2U, 17U, 100U}) {
    for (const auto& [d, heads] : {std::pair<std::size_t, std::size_t>{6, 2}, {35, 5}, {48, 1}}) {
      const StandardAttention attention(d, heads, kGlorot);
      const Tensor x = test::random_tensor(2, n, d, n + d);
      const Tensor out = attention.forward(x);
      for (std::size_t b = 0; b < 2; ++b) {
        const double scale = 1.0 / std::sqrt(static_cast<double>(attention.head_dim()));
        test::expect_close(out.item(b),
                           test::plain_layer(x.item(b), attention.projections(),
                                             [&](std::size_t, const MatrixView& q,
                                                 const MatrixView& k, const MatrixView& v) {
                                               return reference::standard_attention(q, k, v, scale);
                                             }));
      }
    }
  }
}

TEST(StandardAttention, SameBytesOnAnyNumberOfThreadsAndWithAUsedWorkspace) {
  const StandardAttention attention(24, 3, kGlorot);
  const Tensor x = test::random_tensor(3, 150, 24, 1);
  const Executor one(1), four(4);
  const Tensor out = attention.forward(x, one);
  EXPECT_TRUE(test::same_bytes(out, attention.forward(x, four)));
  Workspace workspace;
  Tensor again(3, 150, 24);
  attention.forward(test::random_tensor(4, 200, 24, 2), Tensor(4, 200, 24), workspace, four);
  attention.forward(x, again, workspace, four);
  EXPECT_TRUE(test::same_bytes(out, again));
}

TEST(StandardAttention, ItemsOfABatchDoNotInfluenceEachOther) {
  const StandardAttention attention(16, 2, kGlorot);
  const Tensor x = test::random_tensor(3, 37, 16, 1);
  const Tensor out = attention.forward(x);
  for (std::size_t b = 0; b < 3; ++b) {
    test::expect_same_bytes(attention.forward(x.item(b)).item(0), out.item(b));
  }
}

TEST(StandardAttention, ReadsPaddedRows) {
  const StandardAttention attention(6, 2, kGlorot);
  const Matrix x = test::random_matrix(20, 6, 3);
  EXPECT_TRUE(test::same_bytes(attention.forward(x), attention.forward(Tensor::copy_of(x))));
}

TEST(StandardAttention, ParametersAreNamedReplaceableAndShared) {
  const StandardAttention attention(8, 2, kGlorot);
  const StandardAttention identity(8, 2);
  const StandardAttention changed = identity.with_parameters(attention.named_parameters());
  const Tensor x = test::random_tensor(1, 9, 8, 1);
  EXPECT_TRUE(test::same_bytes(changed.forward(x), attention.forward(x)));
  EXPECT_FALSE(test::same_bytes(identity.forward(x), attention.forward(x)));
  const StandardAttention copy = attention;  // NOLINT: the copy is what is tested
  EXPECT_EQ(&copy.projections(), &attention.projections());
}

TEST(StandardAttention, RefusesBadInput) {
  const StandardAttention attention(8, 2);
  const Executor executor(2);
  expect_error(ErrorCode::kDimensionMismatch, "dimension 7",
               [&] { attention.forward(test::random_tensor(1, 3, 7, 1), executor); });
  Tensor x = test::random_tensor(2, 3, 8, 1);
  x.item(1).row(2)[5] = std::nanf("");
  expect_error(ErrorCode::kNonFinite, "row 2 of item 1", [&] { attention.forward(x, executor); });
  Workspace workspace;
  Tensor small(1, 3, 8);
  expect_error(ErrorCode::kDimensionMismatch, "output is 1 x 3 x 8",
               [&] { attention.forward(x, small, workspace, executor); });
  Tensor huge(1, 2, 8);
  for (std::size_t i = 0; i < 16; ++i) huge.data()[i] = i % 2 == 0 ? 3e38F : -3e38F;
  expect_error(ErrorCode::kNonFinite, "overflowed", [&] { attention.forward(huge, executor); });
  expect_error(ErrorCode::kInvalidArgument, "multiple", [] { const StandardAttention a(10, 4); });
}

TEST(StandardAttention, EveryGradient) {
  for (const std::size_t n : {0U, 1U, 2U, 9U}) {
    const StandardAttention attention(
        6, 2, {.initialisation = Initialisation::kGlorot, .seed = 8, .scale = 0.8F});
    const Tensor x = test::random_tensor(2, n, 6, n);
    const test::Plain plain = test::plain_layer(
        x, 2, attention.named_parameters(),
        [](const std::map<std::string, test::Values>&, std::size_t, std::size_t,
           const test::Values& q, const test::Values& k, const test::Values& v) {
          return test::plain_attention(q, k, v, 3, static_cast<double>(0.8F),
                                       [](std::size_t, std::size_t) { return true; });
        });
    test::check_layer_gradients(
        attention, x, test::random_tensor(2, n, 6, 7), plain, 1e-5,
        [&](const Tensor& in, Tensor& out, SavedForward& saved, const Executor& executor) {
          attention.forward(in, out, saved, executor);
          EXPECT_TRUE(test::same_bytes(out, attention.forward(in)));
        });
  }
}

}  // namespace
}  // namespace halo::attention
