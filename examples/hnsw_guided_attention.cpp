// Attention guided by an HNSW graph: a window of neighbours for detail, the nodes of the upper
// layers for an overview. The layers here are written out by hand; an index gives real ones
// (GraphSnapshot::layer_nodes).
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <vector>

#include "halo/attention/hnsw_mask.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/random.h"

namespace {

using halo::attention::HnswMask;
using halo::attention::LocalGlobalAttention;
using halo::attention::SparseMask;
using halo::attention::Tensor;

double largest_difference(const Tensor& a, const Tensor& b) {
  double largest = 0.0;
  for (std::size_t i = 0; i < a.batch() * a.n() * a.dim(); ++i) {
    largest = std::fmax(largest, std::fabs(static_cast<double>(a.data()[i] - b.data()[i])));
  }
  return largest;
}

int run() {
  const std::vector<std::vector<std::uint32_t>> layers = {
      {0, 1, 2, 3, 4, 5, 6, 7},  // layer 0: all nodes
      {0, 2, 4, 6},              // layer 1: every second
      {0, 4},                    // layer 2: the top two
  };
  // Global nodes: layer 1 and above. Doubles are merged by the attention.
  std::vector<std::uint32_t> global_indices;
  for (std::size_t l = 1; l < layers.size(); ++l) {
    global_indices.insert(global_indices.end(), layers[l].begin(), layers[l].end());
  }

  constexpr std::size_t kModel = 512, kHeads = 8, kWindow = 4, kBatch = 2, kLength = 8;
  LocalGlobalAttention attention(kModel, kHeads, kWindow, global_indices,
                                 {.initialisation = halo::attention::Initialisation::kGlorot});

  Tensor x(kBatch, kLength, kModel);
  halo::Random random(1);
  for (std::size_t i = 0; i < kBatch * kLength * kModel; ++i) {
    x.data()[i] = static_cast<float>(random.uniform());
  }

  const halo::Executor executor;
  const Tensor output = attention.forward(x, executor);
  std::printf("output: [%zu, %zu, %zu]\n", output.batch(), output.n(), output.dim());

  // A GNN layer that looks from higher up: the same attention over the top layer's nodes.
  attention.update_global_indices(layers[2]);
  const Tensor from_the_top = attention.forward(x, executor);
  std::printf("largest change with layer 2's nodes: %.3g\n",
              largest_difference(output, from_the_top));

  std::printf("who attends to whom, window and global nodes:\n%s",
              SparseMask::visualize(SparseMask::local_global(kLength, 1, layers[2])).c_str());
  std::printf("and by the layers above 0 alone:\n%s",
              SparseMask::visualize(
                  HnswMask::from_layers(kLength, {layers.begin() + 1, layers.end()}).to_csr())
                  .c_str());
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
