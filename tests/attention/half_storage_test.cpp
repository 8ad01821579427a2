// Storage::kBfloat16: within its error bounds of float32, in every layer, forward and backward.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>

#include "attention_test_support.h"
#include "core/kernels/every_half_isa.h"
#include "halo/attention/flash_attention.h"
#include "halo/attention/linear_attention.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/saved_forward.h"
#include "halo/attention/sparse_mask.h"
#include "halo/attention/standard_attention.h"

namespace halo::attention {
namespace {

constexpr std::size_t kN = 80, kModel = 24, kHeads = 3;
using Indices = std::vector<std::uint32_t>;

AttentionOptions options(Storage storage) {
  return {.initialisation = Initialisation::kGlorot, .seed = 4, .storage = storage};
}

struct Results {
  Tensor out{1, kN, kModel}, d_x{1, kN, kModel};
  Gradients gradients;
};

template <class Layer>
Results run(const Layer& layer, std::size_t threads) {
  const Executor executor(threads);
  const Tensor x = test::random_tensor(1, kN, kModel, 1),
               d_out = test::random_tensor(1, kN, kModel, 2);
  Results results;
  results.gradients = Gradients(layer.named_parameters());
  SavedForward saved;
  const TensorSpan d_x = results.d_x;
  if constexpr (requires { layer.gate_mode(); }) {
    layer.forward(x, nullptr, results.out, saved, executor);
  } else {
    layer.forward(x, results.out, saved, executor);
  }
  layer.backward(x, d_out, saved, &d_x, results.gradients, executor);
  EXPECT_TRUE(test::same_bytes(results.out, layer.forward(x, executor)));
  return results;
}

// The largest difference over the largest value.
double error_of(const MatrixView& half, const MatrixView& full) {
  double difference = 0.0, largest = 1e-3;
  for (std::size_t i = 0; i < full.rows; ++i) {
    for (std::size_t c = 0; c < full.cols; ++c) {
      difference = std::max(difference, std::fabs(double{half.row(i)[c]} - double{full.row(i)[c]}));
      largest = std::max(largest, std::fabs(double{full.row(i)[c]}));
    }
  }
  return difference / largest;
}

// make(storage) -> a layer.
template <class Make>
void check(const std::string& name, const Make& make) {
  SCOPED_TRACE(name);
  const Results full = run(make(Storage::kFloat32), 2), half = run(make(Storage::kBfloat16), 2);
  const Results alone = run(make(Storage::kBfloat16), 1);
  EXPECT_TRUE(test::same_bytes(half.out, alone.out));
  EXPECT_TRUE(test::same_bytes(half.d_x, alone.d_x));
  // Inputs, weights, queries, keys, values, probabilities and mixed heads rounded by at most 2^-8
  // each: a few of those in what they make.
  const double out = error_of(half.out.item(0), full.out.item(0));
  EXPECT_GT(out, 1e-6) << "nothing was rounded";
  EXPECT_LT(out, 0.015);
  EXPECT_LT(error_of(half.d_x.item(0), full.d_x.item(0)), 0.02);
  const auto named = half.gradients.named(), wanted = full.gradients.named();
  for (std::size_t p = 0; p < named.size(); ++p) {
    EXPECT_LT(error_of(named[p].value, wanted[p].value), 0.03) << named[p].name;
  }
  std::printf("%-14s output differs by %.5f of its largest value\n", name.c_str(), out);
}

void check_every_layer() {
  const auto mask = std::make_shared<const CsrMask>(SparseMask::random(kN, 0.2, 3));
  check("standard", [](Storage s) { return StandardAttention(kModel, kHeads, options(s)); });
  check("flash", [](Storage s) { return FlashAttention(kModel, kHeads, 16, options(s)); });
  check("masked flash", [&](Storage s) {
    FlashAttention attention(kModel, kHeads, 16, options(s));
    attention.update_mask(mask);
    return attention;
  });
  check("linear", [](Storage s) { return LinearAttention(kModel, kHeads, 32, options(s)); });
  check("window", [](Storage s) {
    return LocalGlobalAttention(kModel, kHeads, std::size_t{5}, Indices{1, 40}, options(s));
  });
  check("mask", [&](Storage s) {
    return LocalGlobalAttention(kModel, kHeads, mask, Indices{1, 40}, options(s));
  });
}

TEST(HalfStorage, EveryLayerIsWithinItsErrorBoundsOnEveryIsa) {
  halo::test::on_every_half_isa([](const char* isa) {
    SCOPED_TRACE(isa);
    check_every_layer();
  });
}

TEST(HalfStorage, IsKeptByCopiesAndParametersStayFloat32) {
  const LocalGlobalAttention attention(kModel, kHeads, std::size_t{5}, Indices{1},
                                       options(Storage::kBfloat16));
  const Tensor x = test::random_tensor(1, kN, kModel, 1);
  const LocalGlobalAttention same = attention.with_parameters(attention.named_parameters());
  EXPECT_EQ(same.projections().storage(), Storage::kBfloat16);
  EXPECT_TRUE(test::same_bytes(same.forward(x), attention.forward(x)));
  const LocalGlobalAttention full(kModel, kHeads, std::size_t{5}, Indices{1},
                                  options(Storage::kFloat32));
  test::expect_same_bytes(attention.projections().w_q(), full.projections().w_q());
  test::expect_error(ErrorCode::kInvalidArgument, "storage 7",
                     [] { StandardAttention(kModel, kHeads, options(static_cast<Storage>(7))); });
}

}  // namespace
}  // namespace halo::attention
