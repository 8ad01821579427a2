// The functions of head_attention.h that attend to a gathered set of keys: global indices, and the
// lists of an HNSW graph's layers.
#include <algorithm>
#include <vector>

#include "halo/attention/detail/head_checks.h"
#include "halo/attention/head_attention.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention {
namespace {

using Indices = std::vector<std::uint32_t>;

Matrix gather(const MatrixView& m, std::span<const std::uint32_t> rows) {
  Matrix into = Matrix::padded(rows.size(), m.cols);
  for (std::size_t r = 0; r < rows.size(); ++r) std::copy_n(m.row(rows[r]), m.cols, into.row(r));
  return into;
}

void scatter(const MatrixView& from, std::span<const std::uint32_t> rows, const MatrixSpan& to) {
  for (std::size_t r = 0; r < rows.size(); ++r) std::copy_n(from.row(r), to.cols, to.row(rows[r]));
}

void scatter_add(const MatrixView& from, std::span<const std::uint32_t> rows,
                 const MatrixSpan& to) {
  for (std::size_t r = 0; r < rows.size(); ++r) {
    kernels::axpy(1.0F, from.row(r), to.row(rows[r]), to.cols);
  }
}

void zero(const MatrixSpan& m) {
  for (std::size_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, 0.0F);
}

// d_q <- the gradients by q; d_k and d_v take in those by the gathered keys.
void backward_gathered(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                       std::span<const std::uint32_t> keys, float scale, const MatrixView& d_out,
                       const HeadGradients& gradients, const Executor& executor) {
  const Matrix k_rows = gather(k, keys), v_rows = gather(v, keys);
  Matrix d_k = Matrix::padded(keys.size(), k.cols), d_v = Matrix::padded(keys.size(), v.cols);
  flash_attention_backward(q, k_rows, v_rows, scale, d_out, {gradients.q, d_k, d_v}, executor);
  scatter_add(d_k, keys, gradients.k);
  scatter_add(d_v, keys, gradients.v);
}

// The rows of each list of a layer mask.
std::vector<Indices> rows_by_list(const LayerMask& mask) {
  std::vector<Indices> rows(mask.num_lists());
  for (std::size_t i = 0; i < mask.rows(); ++i) {
    rows[mask.list_of(i)].push_back(static_cast<std::uint32_t>(i));
  }
  return rows;
}

}  // namespace

void global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::span<const std::uint32_t> indices, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  detail::check_shapes(q, k, v, scale, out);
  const Indices keys = checked_indices(indices, k.rows, "attention: global indices");
  const Matrix k_rows = gather(k, keys), v_rows = gather(v, keys);
  kernels::flash_attention_forward(q, k_rows, v_rows, {1, scale}, out, {}, executor);
}

void global_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               std::span<const std::uint32_t> indices, float scale,
                               const MatrixView& d_out, const HeadGradients& gradients,
                               const Executor& executor) {
  detail::check_gradients(q, k, v, scale, d_out, gradients);
  const Indices keys = checked_indices(indices, k.rows, "attention: global indices");
  zero(gradients.k);
  zero(gradients.v);
  backward_gathered(q, k, v, keys, scale, d_out, gradients, executor);
}

void layer_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const LayerMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor) {
  detail::check_shapes(q, k, v, scale, out);
  detail::check_mask_shape(mask.rows(), mask.num_columns(), q, k);
  const std::vector<Indices> rows = rows_by_list(mask);
  for (std::size_t l = 0; l < rows.size(); ++l) {
    if (rows[l].empty()) continue;
    const Matrix k_rows = gather(k, mask.list(l)), v_rows = gather(v, mask.list(l));
    Matrix part = Matrix::padded(rows[l].size(), out.cols);
    kernels::flash_attention_forward(gather(q, rows[l]), k_rows, v_rows, {1, scale}, part, {},
                                     executor);
    scatter(part, rows[l], out);
  }
}

void layer_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const LayerMask& mask, float scale, const MatrixView& d_out,
                              const HeadGradients& gradients, const Executor& executor) {
  detail::check_gradients(q, k, v, scale, d_out, gradients);
  detail::check_mask_shape(mask.rows(), mask.num_columns(), q, k);
  zero(gradients.k);
  zero(gradients.v);
  const std::vector<Indices> rows = rows_by_list(mask);
  for (std::size_t l = 0; l < rows.size(); ++l) {
    if (rows[l].empty()) continue;
    Matrix d_q = Matrix::padded(rows[l].size(), q.cols);
    backward_gathered(gather(q, rows[l]), k, v, mask.list(l), scale, gather(d_out, rows[l]),
                      {d_q, gradients.k, gradients.v}, executor);
    scatter(d_q, rows[l], gradients.q);
  }
}

}  // namespace halo::attention
