#include "halo/attention/head_attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "halo/attention/detail/row_kernels.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/error.h"

namespace halo::attention {
namespace {

void require(bool fits, const char* what, std::size_t got, std::size_t wanted) {
  if (!fits) {
    throw Error(ErrorCode::kDimensionMismatch, std::string("attention: ") + what + ": " +
                                                   std::to_string(got) + " instead of " +
                                                   std::to_string(wanted));
  }
}

void check_shapes(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                  const MatrixSpan& out) {
  require(k.cols == q.cols, "dimension of the keys", k.cols, q.cols);
  require(v.rows == k.rows, "number of values", v.rows, k.rows);
  require(out.rows == q.rows, "rows of the output", out.rows, q.rows);
  require(out.cols == v.cols, "columns of the output", out.cols, v.cols);
  if (!std::isfinite(scale)) {
    throw Error(ErrorCode::kInvalidArgument, "attention: the scale is not finite");
  }
}

MatrixView gather(const MatrixView& m, std::span<const std::uint32_t> rows, Matrix& into) {
  into = Matrix::padded(rows.size(), m.cols);
  for (std::size_t r = 0; r < rows.size(); ++r) std::copy_n(m.row(rows[r]), m.cols, into.row(r));
  return into;
}

// Both kinds of mask answer rows() and row(i).
template <class Mask>
void masked_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      const Mask& mask, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  detail::for_each_block(executor, 1, q.rows, detail::kRowBlock,
                         [&](std::size_t, std::size_t, std::size_t begin, std::size_t end) {
                           std::size_t longest = 0;
                           for (std::size_t i = begin; i < end; ++i)
                             longest = std::max(longest, mask.row(i).size());
                           std::vector<float> scratch(longest);
                           for (std::size_t i = begin; i < end; ++i) {
                             detail::columns_row(q.row(i), k, v, mask.row(i), scale, out.row(i),
                                                 scratch.data());
                           }
                         });
}

}  // namespace

void standard_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                        const MatrixSpan& out, const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  const std::size_t block = detail::dense_block(k.rows);
  detail::for_each_block(executor, 1, q.rows, block,
                         [&](std::size_t, std::size_t, std::size_t begin, std::size_t end) {
                           std::vector<float> scratch((end - begin) * k.rows);
                           detail::dense_rows(q.sub_rows(begin, end - begin), k, v, scale,
                                              out.sub_rows(begin, end - begin), scratch.data());
                         });
}

void csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                   const CsrView& mask, float scale, const MatrixSpan& out,
                   const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  validate(mask);
  require(mask.rows() == q.rows, "rows of the mask", mask.rows(), q.rows);
  require(mask.num_columns == k.rows, "columns of the mask", mask.num_columns, k.rows);
  masked_attention(q, k, v, mask, scale, out, executor);
}

void window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::size_t window, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  require(k.rows == q.rows, "number of keys", k.rows, q.rows);
  detail::for_each_block(executor, 1, q.rows, detail::kRowBlock,
                         [&](std::size_t, std::size_t, std::size_t begin, std::size_t end) {
                           std::vector<float> scratch(detail::longest_window(q.rows, window));
                           for (std::size_t i = begin; i < end; ++i) {
                             const detail::Range range = detail::window_of(i, window, q.rows);
                             detail::window_row(q.row(i), k, v, range.begin, range.end, scale,
                                                out.row(i), scratch.data());
                           }
                         });
}

void global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::span<const std::uint32_t> indices, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  const std::vector<std::uint32_t> keys =
      checked_indices(indices, k.rows, "attention: global indices");
  Matrix k_rows, v_rows;
  standard_attention(q, gather(k, keys, k_rows), gather(v, keys, v_rows), scale, out, executor);
}

void layer_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const LayerMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  require(mask.rows() == q.rows, "rows of the mask", mask.rows(), q.rows);
  require(mask.num_columns() == k.rows, "columns of the mask", mask.num_columns(), k.rows);
  masked_attention(q, k, v, mask, scale, out, executor);
}

}  // namespace halo::attention
