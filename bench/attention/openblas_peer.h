// Standard attention on OpenBLAS: what one gets by calling sgemm well.
#pragma once

#include <cstddef>

namespace halo::bench {

/// As naive_eigen_attention, but scores exist for 256 queries at a time, and the products are
/// OpenBLAS's on `threads` threads.
__attribute__((visibility("default"))) void openblas_attention(const float* x, std::size_t n,
                                                               std::size_t d, std::size_t heads,
                                                               const float* w_qkv, const float* w_o,
                                                               std::size_t threads, float* out);

/// out [n, m] = a [n, k] b [k, m], for the ceiling.
__attribute__((visibility("default"))) void openblas_product(const float* a, const float* b,
                                                             std::size_t n, std::size_t k,
                                                             std::size_t m, float* out);

}  // namespace halo::bench
