// The level at which a vector enters an HNSW graph.
//
// Thread-safety: a pure function. Private to the index room.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>

#include "halo/core/random.h"

namespace halo::detail {

/// Geometric with mean 1 / ln M, a function of seed and row alone: the same at any thread count.
inline std::uint8_t level_of(std::uint64_t seed, std::size_t row, std::size_t M) {
  constexpr double kMaxLevel = 63;
  Random random(seed, row);
  const double level = -std::log(1.0 - random.uniform()) / std::log(static_cast<double>(M));
  return static_cast<std::uint8_t>(std::min(level, kMaxLevel));
}

}  // namespace halo::detail
