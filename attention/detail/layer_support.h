// What the attention layers share around their kernels: the views of one head and the check of the
// output.
//
// Private to the room.
#pragma once

#include <string>

#include "halo/attention/projections.h"
#include "halo/attention/tensor.h"
#include "halo/core/error.h"

namespace halo::attention::detail {

/// Head `item % heads` of batch item `item / heads`, after project_in.
struct HeadViews {
  std::size_t batch_item, head;
  MatrixView q, k, v;
  MatrixSpan out;
};

inline HeadViews head_views(Workspace& workspace, const Projections& projections, std::size_t n,
                            std::size_t item) {
  const std::size_t b = item / projections.num_heads(), h = item % projections.num_heads();
  const std::size_t d = projections.d_model(), head_dim = projections.head_dim();
  const MatrixView qkv = workspace.qkv.view().sub_rows(b * n, n);
  return {b,
          h,
          qkv.sub_cols(h * head_dim, head_dim),
          qkv.sub_cols(d + h * head_dim, head_dim),
          qkv.sub_cols(2 * d + h * head_dim, head_dim),
          workspace.mixed.span().sub_rows(b * n, n).sub_cols(h * head_dim, head_dim)};
}

inline void check_output(const TensorView& x, const TensorSpan& out) {
  if (out.batch != x.batch || out.n != x.n || out.dim != x.dim) {
    throw Error(ErrorCode::kDimensionMismatch,
                "attention: the output is " + std::to_string(out.batch) + " x " +
                    std::to_string(out.n) + " x " + std::to_string(out.dim) + ", the input " +
                    std::to_string(x.batch) + " x " + std::to_string(x.n) + " x " +
                    std::to_string(x.dim));
  }
}

}  // namespace halo::attention::detail
