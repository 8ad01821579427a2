// The checks that every bare attention function makes at its entry.
//
// Private to the room.
#pragma once

#include <cmath>
#include <string>

#include "halo/attention/head_attention.h"
#include "halo/core/error.h"

namespace halo::attention::detail {

inline void require(bool fits, const char* what, std::size_t got, std::size_t wanted) {
  if (!fits) {
    throw Error(ErrorCode::kDimensionMismatch, std::string("attention: ") + what + ": " +
                                                   std::to_string(got) + " instead of " +
                                                   std::to_string(wanted));
  }
}

/// `out` is the output or its gradient.
inline void check_shapes(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                         const MatrixView& out) {
  require(k.cols == q.cols, "dimension of the keys", k.cols, q.cols);
  require(v.rows == k.rows, "number of values", v.rows, k.rows);
  require(out.rows == q.rows, "rows of the output", out.rows, q.rows);
  require(out.cols == v.cols, "columns of the output", out.cols, v.cols);
  if (!std::isfinite(scale)) {
    throw Error(ErrorCode::kInvalidArgument, "attention: the scale is not finite");
  }
}

inline void check_same(const char* what, const MatrixView& got, const MatrixView& wanted) {
  require(got.rows == wanted.rows, what, got.rows, wanted.rows);
  require(got.cols == wanted.cols, what, got.cols, wanted.cols);
}

inline void check_gradients(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                            float scale, const MatrixView& d_out, const HeadGradients& gradients) {
  check_shapes(q, k, v, scale, d_out);
  check_same("gradient of the queries", gradients.q, q);
  check_same("gradient of the keys", gradients.k, k);
  check_same("gradient of the values", gradients.v, v);
}

inline void check_mask_shape(std::size_t rows, std::size_t columns, const MatrixView& q,
                             const MatrixView& k) {
  require(rows == q.rows, "rows of the mask", rows, q.rows);
  require(columns == k.rows, "columns of the mask", columns, k.rows);
}

}  // namespace halo::attention::detail
