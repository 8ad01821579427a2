// Products with matrices stored as bfloat16: widened where they are used, summed in float32.
#include <algorithm>
#include <cassert>

#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/gemm_tiles.h"

namespace halo::kernels {

PackedHalfMatrix pack_half(const MatrixView& b) {
  const PackedMatrix whole = pack(b);
  PackedHalfMatrix packed;
  packed.rows_ = whole.rows_;
  packed.cols_ = whole.cols_;
  packed.panel_ = whole.panel_;
  packed.blocks_ = HalfMatrix::rounded(whole.blocks_);
  return packed;
}

void widen(const HalfView& from, const MatrixSpan& to) {
  assert(from.rows == to.rows && from.cols == to.cols);
  for (std::size_t i = 0; i < to.rows; ++i) gemm_detail::widen(from.row(i), to.cols, to.row(i));
}

void gemm(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  if (out.rows == 0 || out.cols == 0) return;
  if (a.cols == 0) {
    for (std::size_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0F);
    return;
  }
  const gemm_detail::Shape shape = gemm_detail::tile_shape();
  assert(b.panel_ == shape.columns_at_once);
  const std::size_t columns = gemm_detail::round_up(out.cols, b.panel_);
  const std::size_t grain = shape.rows_at_once * gemm_detail::kPanelsPerBlock;
  const std::size_t most = std::min(gemm_detail::kDepth, a.cols);
  // A thread's block of a and one panel of b, widened where it is used: once for all rows.
  const std::size_t floats = gemm_detail::round_up((grain + b.panel_) * most, 16);
  const gemm_detail::Scratch scratch(floats * executor.threads());
  executor.parallel_for_workers(
      out.rows, grain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        float* rows = scratch.data() + worker * floats;
        float* panel = rows + grain * most;
        for (std::size_t p = 0; p < a.cols; p += gemm_detail::kDepth) {
          const std::size_t depth = std::min(gemm_detail::kDepth, a.cols - p);
          gemm_detail::pack_block({a.data, a.stride, true}, p, depth, begin, end - begin,
                                  shape.rows_at_once, rows, nullptr);
          for (std::size_t j = 0; j < out.cols; j += b.panel_) {
            gemm_detail::widen(b.blocks_.row(0) + p * columns + j * depth, b.panel_ * depth, panel);
            const gemm_detail::Block block{end - begin, std::min(b.panel_, out.cols - j),
                                           depth,       rows,
                                           0,           nullptr,
                                           panel,       0,
                                           b.panel_,    p != 0};
            gemm_detail::multiply_block(block, out.row(begin) + j, out.stride);
          }
        }
      });
}

void gemm(const HalfView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  const std::size_t at_once = gemm_detail::tile_shape().rows_at_once * gemm_detail::kPanelsPerBlock;
  static const Executor calling_thread(1);
  executor.parallel_for(a.rows, at_once, [&](std::size_t begin, std::size_t end) {
    Matrix rows = Matrix::padded(end - begin, a.cols);
    widen(a.sub_rows(begin, end - begin), rows);
    gemm(rows, b, out.sub_rows(begin, end - begin), calling_thread);
  });
}

}  // namespace halo::kernels
