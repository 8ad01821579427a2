// The baseline that attention is measured against: standard attention as one writes it with Eigen.
#pragma once

#include <cstddef>

namespace halo::bench {

/// x [n, d], weights [d, d], out [n, d], all row-major and dense. Projections included. The n x n
/// scores of every head are held at once, as in the seed notes' memory estimate, up to 4096 rows;
/// beyond, those of one head at a time.
__attribute__((visibility("default"))) void naive_eigen_attention(
    const float* x, std::size_t n, std::size_t d, std::size_t heads, const float* w_q,
    const float* w_k, const float* w_v, const float* w_o, float* out);

/// out [n, m] = a [n, k] b [k, m], for the ceiling.
__attribute__((visibility("default"))) void naive_eigen_product(const float* a, const float* b,
                                                                std::size_t n, std::size_t k,
                                                                std::size_t m, float* out);

}  // namespace halo::bench
