// Products of oneDNN, the best bfloat16 GEMM among Debian's packages: a peer of core/kernels.
#pragma once

#include <cstddef>
#include <functional>

namespace halo::bench {

/// out = a b in one thread, a [n, k], b [k, m], out [n, m] dense and row-major, in float32 or with
/// a and b as bfloat16 and float32 sums. b is laid out as oneDNN likes it, once; a's rounding to
/// bfloat16 is part of every call, as it is of ours. Null where oneDNN has no such product here.
__attribute__((visibility("default"))) std::function<void()> onednn_product(
    const float* a, const float* b, std::size_t n, std::size_t k, std::size_t m, bool half,
    float* out);

}  // namespace halo::bench
