// Products with matrices stored as bfloat16, summed in float32: in hardware where it has them, else
// widened where they are used.
#include <algorithm>
#include <cassert>

#include "halo/core/kernels/bf16.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/gemm_bf16.h"
#include "halo/core/kernels/gemm_tiles.h"

namespace halo::kernels {

PackedHalfMatrix pack_half(const MatrixView& b) {
  PackedHalfMatrix packed;
  packed.rows_ = b.rows;
  packed.cols_ = b.cols;
  packed.pairs_ = bf16::in_hardware();
  if (!packed.pairs_) {
    const PackedMatrix whole = pack(b);
    packed.panel_ = whole.panel_;
    packed.blocks_ = HalfMatrix::rounded(whole.blocks_);
    return packed;
  }
  packed.panel_ = bf16::kPanel;
  const std::size_t columns = gemm_detail::round_up(b.cols, bf16::kPanel);
  packed.blocks_ = HalfMatrix(1, 2 * bf16::pairs_of(b.rows) * columns);
  for (std::size_t p = 0; p < b.rows; p += 2 * bf16::kPanelPairs) {
    bf16::pack_panels(b.row(p), b.stride, std::min(2 * bf16::kPanelPairs, b.rows - p), b.cols,
                      reinterpret_cast<bf16::Pair*>(packed.blocks_.row(0) + p * columns));
  }
  return packed;
}

void widen(const HalfView& from, const MatrixSpan& to) {
  assert(from.rows == to.rows && from.cols == to.cols);
  for (std::size_t i = 0; i < to.rows; ++i) gemm_detail::widen(from.row(i), to.cols, to.row(i));
}

void PackedHalfMatrix::multiply_pairs(const MatrixView& a, const MatrixSpan& out, bool rounded,
                                      const Executor& executor) const {
  const std::size_t columns = gemm_detail::round_up(out.cols, panel_);
  const std::size_t grain = bf16::kRowsAtOnce;
  const std::size_t room =
      gemm_detail::round_up(std::min(grain, out.rows), bf16::kTileRows) * bf16::kRowPairs;
  const gemm_detail::Scratch scratch(room * (out.rows <= grain ? 1 : executor.threads()));
  executor.parallel_for_workers(
      out.rows, grain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        auto* rows = reinterpret_cast<bf16::Pair*>(scratch.data() + worker * room);
        for (std::size_t p = 0; p < a.cols; p += 2 * bf16::kPanelPairs) {
          const std::size_t depth = std::min(2 * bf16::kPanelPairs, a.cols - p);
          bf16::round_rows(a.row(begin) + p, a.stride, end - begin, depth, rows);
          const bf16::PairBlock block{
              end - begin,
              out.cols,
              bf16::pairs_of(depth),
              rows,
              reinterpret_cast<const bf16::Pair*>(blocks_.row(0) + p * columns),
              p != 0,
              rounded && p + depth == a.cols};
          bf16::multiply(block, out.row(begin), out.stride);
        }
      });
}

void PackedHalfMatrix::multiply(const MatrixView& a, const MatrixSpan& out, bool rounded,
                                const Executor& executor) const {
  assert(a.cols == rows_ && out.rows == a.rows && out.cols == cols_);
  if (out.rows == 0 || out.cols == 0) return;
  if (a.cols == 0) {
    for (std::size_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0F);
    return;
  }
  assert(pairs_ == bf16::in_hardware());
  if (pairs_) return multiply_pairs(a, out, rounded, executor);
  const gemm_detail::Shape shape = gemm_detail::tile_shape();
  assert(panel_ == shape.columns_at_once);
  const std::size_t columns = gemm_detail::round_up(out.cols, panel_);
  const std::size_t grain = shape.rows_at_once * gemm_detail::kTilesPerBlock;
  const std::size_t most = std::min(gemm_detail::kDepth, a.cols);
  // A thread's block of a and one panel of b, widened where it is used: once for all rows.
  const gemm_detail::Operand operand{a.data, a.stride, false};
  const std::size_t copies = gemm_detail::scratch_for(operand, grain, out.cols, shape);
  const std::size_t floats = copies + gemm_detail::round_up(panel_ * most, 16);
  const gemm_detail::Scratch scratch(floats * executor.threads());
  executor.parallel_for_workers(
      out.rows, grain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        float* copied = scratch.data() + worker * floats;
        float* panel = copied + copies;
        for (std::size_t p = 0; p < a.cols; p += gemm_detail::kDepth) {
          const std::size_t depth = std::min(gemm_detail::kDepth, a.cols - p);
          gemm_detail::Block block{
              .rows = end - begin,
              .depth = depth,
              .a = gemm_detail::lay_rows(operand, begin, end, p, depth, out.cols, shape, copied),
              .b = panel,
              .b_row = panel_,
              .add = p != 0};
          for (std::size_t j = 0; j < out.cols; j += panel_) {
            gemm_detail::widen(blocks_.row(0) + p * columns + j * depth, panel_ * depth, panel);
            block.columns = std::min(panel_, out.cols - j);
            gemm_detail::multiply_block(block, out.row(begin) + j, out.stride);
          }
        }
        for (std::size_t i = begin; rounded && i < end; ++i) {
          for (float& x : out.row_span(i)) x = bf16_to_float(float_to_bf16(x));
        }
      });
}

void gemm(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  b.multiply(a, out, false, executor);
}

void gemm_rounded(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
                  const Executor& executor) {
  b.multiply(a, out, true, executor);
}

void gemm_tn_add_half(const MatrixView& a, const MatrixView& b, const MatrixSpan& out) {
  assert(a.rows == b.rows && out.rows == a.cols && out.cols == b.cols && bf16::in_hardware());
  assert(a.rows <= 2 * bf16::kPanelPairs);
  if (a.rows == 0 || out.rows == 0 || out.cols == 0) return;
  const std::size_t pairs = bf16::pairs_of(a.rows);
  const std::size_t a_row = gemm_detail::round_up(a.cols, bf16::kTileRows);
  const std::size_t panels = pairs * gemm_detail::round_up(b.cols, bf16::kPanel);
  const gemm_detail::Scratch scratch(panels + pairs * a_row);
  auto* packed = reinterpret_cast<bf16::Pair*>(scratch.data());
  bf16::pack_panels(b.data, b.stride, b.rows, b.cols, packed);
  bf16::pair_rows(a.data, a.stride, a.rows, a.cols, a_row, packed + panels);
  bf16::multiply_transposed({out.rows, out.cols, pairs, packed + panels, packed, true, false},
                            a_row, out.data, out.stride);
}

void gemm(const HalfView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  const std::size_t at_once = gemm_detail::tile_shape().rows_at_once * gemm_detail::kTilesPerBlock;
  static const Executor calling_thread(1);
  executor.parallel_for(a.rows, at_once, [&](std::size_t begin, std::size_t end) {
    Matrix rows = Matrix::padded(end - begin, a.cols);
    widen(a.sub_rows(begin, end - begin), rows);
    gemm(rows, b, out.sub_rows(begin, end - begin), calling_thread);
  });
}

}  // namespace halo::kernels
