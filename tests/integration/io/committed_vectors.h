// What the committed files of tests/integration/io/committed hold, spelled out, so that a test
// knows it without the program that wrote them.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halo/core/matrix_view.h"

namespace halo::io::test {

inline constexpr std::size_t kCommittedSize = 24, kCommittedDim = 5, kCommittedClasses = 3;

/// What the vectors are multiplied by in the file whose vectors are bytes: then they are whole.
inline constexpr float kCommittedWhole = 16.0F;

/// Vector i lies near the end of axis i % 3.
inline Matrix committed_vectors(float scale = 1.0F) {
  Matrix vectors(kCommittedSize, kCommittedDim);
  for (std::size_t i = 0; i < kCommittedSize; ++i) {
    for (std::size_t d = 0; d < kCommittedDim; ++d) {
      const auto noise = static_cast<float>((i * 7 + d * 5) % 11);
      vectors.row(i)[d] = scale * ((d == i % kCommittedClasses ? 4.0F : 0.0F) + noise / 16);
    }
  }
  return vectors;
}

/// The id of vector i.
inline std::int64_t committed_id(std::size_t i) { return static_cast<std::int64_t>(1000 - 3 * i); }

}  // namespace halo::io::test
