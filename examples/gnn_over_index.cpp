// From vectors to refined vectors, by hand: an HNSW index, its layers and links, a mask, an
// adaptive window, and GNN layers of local-global attention that refresh their global nodes from
// the index before each layer.
//
// What `halo refine` does is a closed form of this; the pieces are here for your own models.
#include <cstdio>
#include <memory>

#include "halo/attention/hnsw_mask.h"
#include "halo/attention/local_global_attention.h"
#include "halo/core/random.h"
#include "halo/gnn/gnn_model.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/vector_index.h"
#include "halo/integration/refine.h"

namespace {

constexpr std::size_t kRows = 2000, kDim = 64, kClusters = 20;

halo::Matrix clustered_vectors() {
  halo::Matrix x(kRows, kDim);
  for (std::size_t i = 0; i < kRows; ++i) {
    halo::Random centre(1, i % kClusters), noise(2, i);
    for (std::size_t d = 0; d < kDim; ++d) {
      x.row(i)[d] = static_cast<float>(centre.normal() + 0.8 * noise.normal());
    }
  }
  return x;
}

int run() {
  const halo::Executor executor;

  halo::VectorIndex index(kDim, {.metric = halo::Metric::kCosine});
  index.add(clustered_vectors(), executor);
  const auto snapshot = index.seal(executor);
  for (std::size_t layer = 0; layer < snapshot->num_layers(); ++layer) {
    std::printf("layer %zu: %zu nodes, %zu links, average degree %.1f\n", layer,
                snapshot->layer_nodes(layer).size(), snapshot->edges(layer).entries(),
                snapshot->average_degree(layer));
  }

  // The graph as masks: its links both ways, or the nearest `adaptive_window` nodes of two hops.
  const halo::CsrMask links = halo::attention::HnswMask::from_edges(snapshot->edges(0));
  const auto windows = std::make_shared<const halo::CsrMask>(
      halo::neighbour_windows(*snapshot, snapshot->adaptive_window(), executor));
  std::printf("links: density %.4f; windows of %zu: density %.4f\n", links.density(),
              snapshot->adaptive_window(), windows->density());

  // Two GNN layers over the windows, each with the global nodes of its own HNSW layers.
  const halo::attention::LocalGlobalAttention attention(kDim, 4, windows, {});
  const halo::gnn::GnnModel model(attention, 2);
  const halo::attention::TensorView x(snapshot->vectors());
  const auto refined = model.forward(
      x, [&](std::size_t t) { return halo::global_nodes(*snapshot, t); }, executor);
  std::printf("refined vectors: [%zu, %zu, %zu]\n", refined.batch(), refined.n(), refined.dim());
  return refined.n() == kRows ? 0 : 1;
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
