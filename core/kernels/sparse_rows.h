// Products of sparse rows, stored as indices and 8-bit weights, with a dense vector.
//
// Private to halo: not installed. Kernels only assert. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halo::kernels {

/// sum_i weights[i] dense[indices[i]] over `count` entries, a multiple of 16; pad with weight 0 and
/// any index inside `dense`, of at most 2^31 values. O(count).
float sparse_dot(const std::uint32_t* indices, const std::uint8_t* weights, std::size_t count,
                 const float* dense);
/// The same in the order of the formula: the reference.
float sparse_dot_reference(const std::uint32_t* indices, const std::uint8_t* weights,
                           std::size_t count, const float* dense);

}  // namespace halo::kernels
