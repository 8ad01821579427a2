// Products of bfloat16 in hardware (AVX512-BF16): whether this CPU has them, and how operands lie.
//
// Private to halo: not installed. Two neighbours of the dimension that a product sums over share 32
// bits, the first one below: a pair. One instruction adds the products of both to a float32 sum, so
// every layout of the float32 kernels holds for pairs, at half the depth. Denormals count as 0.
//
// Thread-safety: pure functions but forbid_for_test.
#pragma once

#include <cassert>
#include <cstddef>
#include <cstdint>

namespace halo::kernels::bf16 {

using Pair = std::uint32_t;

inline std::size_t pairs_of(std::size_t values) { return (values + 1) / 2; }

/// True where CPU, operating system and the instruction set that dispatch chose (AVX-512) can.
/// What was packed under one answer must not meet kernels under another.
bool in_hardware();

/// Makes in_hardware() false, or undoes that: so that a CPU that has it tests what others run.
void forbid_for_test(bool forbidden);

// Stands for the kernels where they are not compiled, and in_hardware() never holds.
template <class... Arguments>
void not_compiled(const Arguments&... /*unused*/) {
  assert(false);
}

}  // namespace halo::kernels::bf16
