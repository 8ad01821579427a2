// Cosines of sparse rows, stored as indices and small weights, with a dense vector of bytes.
//
// An entry is one 32-bit number: the index above `weight_bits` bits of weight. So a row is one
// piece of memory, read once.
//
// Private to halo: not installed. Kernels only assert. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>

namespace halo::kernels {

struct SparseRows {
  const std::uint32_t* entries = nullptr;  ///< row r begins at entries + r * room
  std::size_t room = 0;                    ///< entries of a row, a multiple of 8; pad with 0
  unsigned weight_bits = 8;                ///< 1 to 31
};

/// Bytes that must follow the last value of `dense`: values are read four at a time.
inline constexpr std::size_t kDensePadding = 3;

/// out[i] = sum over the entries of row rows[i] of weight * dense[index], divided by the length of
/// the row's weights (0 for an empty row), for i < count; `dense` has a value for every index, at
/// most 2^31 - 4 of them. Rows lie anywhere in memory, so the kernel asks for them early. O(count
/// room).
void unit_dot_rows(const SparseRows& matrix, const std::uint32_t* rows, std::size_t count,
                   const std::uint8_t* dense, float* out);
/// The same in the order of the formula: the reference.
void unit_dot_rows_reference(const SparseRows& matrix, const std::uint32_t* rows, std::size_t count,
                             const std::uint8_t* dense, float* out);

}  // namespace halo::kernels
