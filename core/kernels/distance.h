// Distances between float32 vectors, chosen once for the running CPU (baseline, SSE4, AVX2 or
// AVX-512).
//
// Private to halo: not installed. Kernels only assert; callers have checked shapes and finiteness.
// Plain references in distance_reference.h. Thread-safe; pointers need no alignment.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halo::kernels {

/// f(a, b, d) over two vectors of d floats. O(d).
using PairFn = float (*)(const float* a, const float* b, std::size_t d);

PairFn l2_squared_kernel();  ///< sum_i (a_i - b_i)^2
PairFn dot_kernel();         ///< sum_i a_i b_i

inline float l2_squared(const float* a, const float* b, std::size_t d) {
  return l2_squared_kernel()(a, b, d);
}
inline float dot(const float* a, const float* b, std::size_t d) { return dot_kernel()(a, b, d); }

/// out[i] = dot(query, base + rows[i] * stride) for i < count: gathers, prefetching ahead. O(count
/// d).
void dot_rows(const float* query, const float* base, std::size_t stride, const std::uint32_t* rows,
              std::size_t count, std::size_t d, float* out);

/// What the running CPU was dispatched to ("AVX2", "AVX3", ...), for reports.
const char* dispatched_isa();

}  // namespace halo::kernels
