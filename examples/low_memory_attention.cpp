// Exact attention in little memory: tiles instead of the n x n matrix; and the same over blocks
// that an HNSW graph's upper layers choose.
#include <cstdint>
#include <cstdio>
#include <vector>

#include "halo/attention/flash_attention.h"
#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/random.h"

namespace {

using halo::attention::BlockMask;
using halo::attention::FlashAttention;
using halo::attention::Tensor;
using halo::attention::Workspace;

int run() {
  constexpr std::size_t kModel = 512, kHeads = 8, kBlock = 128, kBatch = 4, kLength = 1024;
  FlashAttention attention(kModel, kHeads, kBlock);

  Tensor x(kBatch, kLength, kModel);
  halo::Random random(1);
  for (std::size_t i = 0; i < kBatch * kLength * kModel; ++i) {
    x.data()[i] = static_cast<float>(random.uniform());
  }
  const halo::Executor executor;
  Workspace workspace;
  Tensor output(kBatch, kLength, kModel);
  attention.forward(x, output, workspace, executor);
  std::printf("output: [%zu, %zu, %zu]\n", output.batch(), output.n(), output.dim());
  std::printf("workspace %.1f MB (Q, K, V and the heads' outputs); the matrices would be %.1f MB\n",
              static_cast<double>(workspace.bytes()) / 1e6,
              static_cast<double>(kBatch * kHeads * kLength * kLength * sizeof(float)) / 1e6);

  // Hierarchical: a block attends to itself, its neighbours, and the blocks of layer 2's nodes.
  const std::vector<std::vector<std::uint32_t>> upper_layers = {{17, 500}, {500}};
  attention.update_layers(kLength, 1, upper_layers);
  attention.forward(x, output, workspace, executor);
  std::printf("hierarchical: %.0f%% of the pairs\n",
              100.0 * BlockMask::from_layers(kLength, kBlock, 1, upper_layers).density());
  return output.dim() == kModel ? 0 : 1;
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
