// Graph attention as gather/scatter libraries do it: every step a pass over arrays of one entry an
// edge (PyG-style), compiled for this CPU.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halo::bench {

/// A graph's edges by row, and n rows of `heads` heads of `d` values.
struct NaiveGraph {
  std::size_t n, edges, heads, d;
  const std::uint32_t *from, *to;  ///< the row and the column of each edge
};

/// out [n, heads d]; k and v float (bits = 32) or bfloat16 (bits = 16). O(edges heads d) memory.
__attribute__((visibility("default"))) void gather_scatter_forward(const NaiveGraph& graph,
                                                                   const float* q, const void* k,
                                                                   const void* v, int bits,
                                                                   float scale, float* out);
/// The gradients of q, k and v.
__attribute__((visibility("default"))) void gather_scatter_backward(
    const NaiveGraph& graph, const float* q, const void* k, const void* v, int bits, float scale,
    const float* d_out, float* d_q, float* d_k, float* d_v);

}  // namespace halo::bench
