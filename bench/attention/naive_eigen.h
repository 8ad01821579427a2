// The baseline that attention is measured against: standard attention as one writes it with Eigen.
#pragma once

#include <cstddef>

namespace halo::bench {

/// x [n, d], weights [d, d], out [n, d], all row-major and dense. Projections included; the n x n
/// scores of every head are held, as in the seed notes' memory estimate.
__attribute__((visibility("default"))) void naive_eigen_attention(
    const float* x, std::size_t n, std::size_t d, std::size_t heads, const float* w_q,
    const float* w_k, const float* w_v, const float* w_o, float* out);

/// What it allocates beyond x, weights and out.
inline std::size_t naive_eigen_bytes(std::size_t n, std::size_t d, std::size_t heads) {
  return sizeof(float) * (heads * n * n + 4 * n * d);
}

}  // namespace halo::bench
