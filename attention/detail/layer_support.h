// What the attention layers share around their kernels: views of Q, K and V and the check of the
// output.
//
// Private to the room.
#pragma once

#include <span>
#include <string>

#include "halo/attention/projections.h"
#include "halo/attention/tensor.h"
#include "halo/core/error.h"

namespace halo::attention::detail {

/// Q, K and V of all heads of one item, from rows [first, first + n) of [batch n, 3 d_model].
struct Heads {
  MatrixView q, k, v;
};
inline Heads heads_of(const MatrixView& qkv, std::size_t d_model, std::size_t first,
                      std::size_t n) {
  const MatrixView rows = qkv.sub_rows(first, n);
  return {rows.sub_cols(0, d_model), rows.sub_cols(d_model, d_model),
          rows.sub_cols(2 * d_model, d_model)};
}
/// The mutable twin.
struct HeadSpans {
  MatrixSpan q, k, v;
};
inline HeadSpans heads_of(const MatrixSpan& qkv, std::size_t d_model, std::size_t first,
                          std::size_t n) {
  const MatrixSpan rows = qkv.sub_rows(first, n);
  return {rows.sub_cols(0, d_model), rows.sub_cols(d_model, d_model),
          rows.sub_cols(2 * d_model, d_model)};
}

/// Part b of equal parts of `all`; empty where all is.
template <class T>
std::span<T> part(std::span<T> all, std::size_t b, std::size_t size) {
  return all.empty() ? all : all.subspan(b * size, size);
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
