#include "halo/attention/flash_attention.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gradient_check.h"
#include "halo/attention/reference.h"
#include "halo/attention/sparse_mask.h"
#include "halo/attention/standard_attention.h"

namespace halo::attention {
namespace {

using test::expect_error;
using test::Values;
using Allowed = std::function<bool(std::size_t, std::size_t)>;

const AttentionOptions kGlorot{.initialisation = Initialisation::kGlorot, .seed = 8};

void check(const FlashAttention& attention, const Tensor& x, const Allowed& allowed) {
  const std::size_t width = attention.head_dim();
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  const test::Plain plain =
      test::plain_layer(x, attention.num_heads(), attention.named_parameters(),
                        [=](const std::map<std::string, Values>&, std::size_t, std::size_t,
                            const Values& q, const Values& k, const Values& v) {
                          return test::plain_attention(q, k, v, width, scale, allowed);
                        });
  test::check_layer_gradients(
      attention, x, test::random_tensor(x.batch(), x.n(), x.dim(), 7), plain, 1e-5,
      [&](const Tensor& in, Tensor& out, SavedForward& saved, const Executor& executor) {
        attention.forward(in, out, saved, executor);
        EXPECT_TRUE(test::same_bytes(out, attention.forward(in)));
      });
}

TEST(FlashAttention, ForwardAndEveryGradientDenseMaskedAndBlocked) {
  for (const std::size_t n : {1U, 2U, 9U}) {
    const Tensor x = test::random_tensor(2, n, 6, n);
    FlashAttention attention(6, 2, 4, kGlorot);
    check(attention, x, [](std::size_t, std::size_t) { return true; });
    const auto mask = std::make_shared<const CsrMask>(SparseMask::strided(n, 1, 3));
    attention.update_mask(mask);
    check(attention, x, [&](std::size_t i, std::size_t j) { return mask->contains(i, j); });
    const auto blocks = std::make_shared<const BlockMask>(
        BlockMask::covering(SparseMask::random(n, 0.3, 4), attention.block_size()));
    const CsrMask entries = blocks->to_csr();
    attention.update_blocks(blocks);
    check(attention, x, [&](std::size_t i, std::size_t j) { return entries.contains(i, j); });
    attention.attend_everywhere();
    EXPECT_TRUE(
        test::same_bytes(attention.forward(x), FlashAttention(6, 2, 4, kGlorot).forward(x)));
  }
}

TEST(FlashAttention, HierarchicalFlashAttendsToTheBlocksOfUpperLayers) {
  const Tensor x = test::random_tensor(1, 300, 16, 1);
  FlashAttention attention(16, 2, 32, kGlorot);
  attention.update_layers(300, 1, {{5, 140, 290}, {140}});
  const CsrMask entries = BlockMask::from_layers(300, 32, 1, {{5, 140, 290}, {140}}).to_csr();
  test::expect_close(
      attention.forward(x).item(0),
      test::plain_layer(
          x.item(0), attention.projections(),
          [&](std::size_t, const MatrixView& q, const MatrixView& k, const MatrixView& v) {
            return reference::csr_attention(q, k, v, entries, 1 / std::sqrt(8.0));
          }));
}

// Not a multiple of any tile or block.
TEST(FlashAttention, AgreesWithStandardAttentionOnLongSequences) {
  for (const std::size_t n : {97U, 257U, 500U}) {
    const Tensor x = test::random_tensor(1, n, 24, n);
    const Tensor want = StandardAttention(24, 3, kGlorot).forward(x);
    test::expect_close(FlashAttention(24, 3, 64, kGlorot).forward(x).item(0),
                       test::values_of(want.item(0)));
  }
}

// The notes' example 3: batch 4, n 1024, d_model 512, 8 heads, blocks of 128.
TEST(FlashAttention, TheNotesExample) {
  const FlashAttention attention(512, 8, 128);
  const Executor executor(2);
  Workspace workspace;
  const Tensor x = test::random_tensor(1, 256, 512, 1);
  Tensor out(1, 256, 512);
  attention.forward(x, out, workspace, executor);
  // Nothing beyond Q, K, V and the heads' outputs; the kernel's tiles are 164 KB a thread.
  EXPECT_EQ(workspace.bytes_beyond_qkv(), 256U * 512U * sizeof(float));
}

TEST(FlashAttention, EmptySequencesAndBatches) {
  const FlashAttention attention(8, 2);
  EXPECT_EQ(attention.forward(Tensor(3, 0, 8)).batch(), 3U);
  EXPECT_EQ(attention.forward(Tensor(0, 5, 8)).n(), 5U);
}

TEST(FlashAttention, ParametersRoundTripAndRefusesBadInput) {
  const Tensor x = test::random_tensor(1, 10, 8, 1);
  FlashAttention attention(8, 2, 4, kGlorot);
  EXPECT_TRUE(test::same_bytes(
      FlashAttention(8, 2).with_parameters(attention.named_parameters()).forward(x),
      attention.forward(x)));
  expect_error(ErrorCode::kInvalidArgument, "block_size", [] { FlashAttention(8, 2, 0); });
  expect_error(ErrorCode::kInvalidArgument, "multiple", [] { FlashAttention(9, 2); });
  expect_error(ErrorCode::kInvalidArgument, "null", [&] { attention.update_mask(nullptr); });
  expect_error(ErrorCode::kInvalidArgument, "null", [&] { attention.update_blocks(nullptr); });
  attention.update_layers(9, 0, {});
  expect_error(ErrorCode::kDimensionMismatch, "9 positions", [&] { attention.forward(x); });
  attention.update_mask(std::make_shared<const CsrMask>(SparseMask::local_window(11, 1)));
  expect_error(ErrorCode::kDimensionMismatch, "11 positions", [&] { attention.forward(x); });
}

}  // namespace
}  // namespace halo::attention
