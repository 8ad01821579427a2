// Whether two runs of a kernel gave the same bytes, not just equal numbers.
#pragma once

#include <cstring>

#include "halo/core/matrix_view.h"

namespace halo::test {

inline bool same_bytes(const MatrixView& a, const MatrixView& b) {
  if (a.rows != b.rows || a.cols != b.cols) return false;
  if (a.cols == 0) return true;
  for (std::size_t i = 0; i < a.rows; ++i) {
    if (std::memcmp(a.row(i), b.row(i), a.cols * sizeof(float)) != 0) return false;
  }
  return true;
}

}  // namespace halo::test
