// Long sequences in linear time: FAVOR+ features instead of an n x n matrix. Attention here is
// flat, the regime in which the estimate is near (docs/attention.md); its error is printed.
#include <cmath>
#include <cstdio>

#include "halo/attention/flash_attention.h"
#include "halo/attention/linear_attention.h"
#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/random.h"

namespace {

using halo::attention::Tensor;

int run() {
  constexpr std::size_t kModel = 512, kHeads = 8, kFeatures = 256, kLength = 4096;
  const halo::attention::LinearAttention attention(kModel, kHeads, kFeatures);

  Tensor x(1, kLength, kModel);
  halo::Random random(1);
  for (std::size_t i = 0; i < kLength * kModel; ++i) {
    x.data()[i] = static_cast<float>(0.25 * random.normal());
  }
  const halo::Executor executor;
  const Tensor output = attention.forward(x, executor);
  std::printf("processed %zu tokens with %zu features a head\n", output.n(),
              attention.num_features());

  // Exact attention with the same projections tells how near the estimate is.
  const Tensor exact = halo::attention::FlashAttention(kModel, kHeads).forward(x, executor);
  double error = 0.0, size = 0.0;
  for (std::size_t i = 0; i < kLength * kModel; ++i) {
    error += std::pow(static_cast<double>(output.data()[i] - exact.data()[i]), 2);
    size += std::pow(static_cast<double>(x.data()[i]), 2);
  }
  std::printf("error over the size of the values: %.4f\n", std::sqrt(error / size));
  return output.n() == kLength ? 0 : 1;
}

}  // namespace

int main() {
  try {
    return run();
  } catch (const halo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
