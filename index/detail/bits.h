// One bit a node, 64 to a word: bit i % 64 of word i / 64, as Filter::of_bits takes them.
//
// Thread-safety: pure functions. Private to the index room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/index/graph_snapshot.h"

namespace halo::detail {

using Bits = std::vector<std::uint64_t>;

inline std::size_t words_for(std::size_t bits) { return (bits + 63) / 64; }

/// Bits past the end are not set.
inline bool test_bit(std::span<const std::uint64_t> bits, std::size_t at) {
  return at / 64 < bits.size() && (bits[at / 64] >> (at % 64) & 1U) != 0;
}
inline void set_bit(Bits& bits, std::size_t at) {
  if (at / 64 >= bits.size()) bits.resize(at / 64 + 1, 0);
  bits[at / 64] |= std::uint64_t{1} << (at % 64);
}
inline void clear_bit(Bits& bits, std::size_t at) {
  bits[at / 64] &= ~(std::uint64_t{1} << (at % 64));
}

}  // namespace halo::detail
