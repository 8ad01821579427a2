// Scores of different kinds brought to one scale: z(s) = (s - s_101st) / (s_1st - s_101st), 1 for
// the best of a list and 0 for its 101st (the last, where there are fewer).
//
// Thread-safe: pure functions.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <vector>

namespace halo::gnn {

struct ZScale {
  float zero = 0, inverse_span = 0;
  float operator()(float s) const { return (s - zero) * inverse_span; }
};

/// The scale of `scores`, at least one of them; 0 everywhere where they are equal. `sorted` is
/// scratch. O(scores).
inline ZScale z_scale(std::span<const float> scores, std::vector<float>& sorted) {
  constexpr std::size_t kZeroRank = 100;
  constexpr float kSmallestSpan = 1e-9F;
  sorted.assign(scores.begin(), scores.end());
  const auto rank = static_cast<std::ptrdiff_t>(std::min(kZeroRank, sorted.size() - 1));
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end(), std::greater<>());
  const float zero = sorted[static_cast<std::size_t>(rank)];
  const float span = *std::max_element(sorted.begin(), sorted.begin() + rank + 1) - zero;
  return {zero, span > kSmallestSpan ? 1.0F / span : 0.0F};
}

}  // namespace halo::gnn
