#include "halo/core/kernels/gemm.h"

#include <algorithm>
#include <cassert>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm_tiles.h"

namespace halo::kernels {
namespace {

using gemm_detail::Block;
using gemm_detail::kColumns;
using gemm_detail::kDepth;
using gemm_detail::multiply_block;
using gemm_detail::Operand;
using gemm_detail::pack_block;
using gemm_detail::round_up;
using gemm_detail::Scratch;
using gemm_detail::Shape;
using gemm_detail::tile_shape;

bool reads_rows(const Operand& a, std::size_t columns) {
  return !a.transposed && columns <= gemm_detail::kColumnsWorthPacking;
}

// Runs body(begin, end, scratch) over the row blocks of out, `scratch` holding what is packed of a
// block of a.
template <class Body>
void for_each_row_block(const Operand& a, const MatrixSpan& out, std::size_t depth,
                        const Shape& shape, const Executor& executor, const Body& body) {
  const std::size_t grain = shape.rows_at_once * gemm_detail::kPanelsPerBlock;
  const std::size_t workers = std::min(executor.threads(), (out.rows + grain - 1) / grain);
  const std::size_t rows = reads_rows(a, out.cols)
                               ? shape.rows_at_once
                               : round_up(std::min(out.rows, grain), shape.rows_at_once);
  const std::size_t floats = round_up(rows * std::min(depth, kDepth), 16);
  const Scratch scratch(floats * (workers == 1 ? 1 : executor.threads()));
  executor.parallel_for_workers(out.rows, grain,
                                [&](std::size_t worker, std::size_t begin, std::size_t end) {
                                  body(begin, end, scratch.data() + worker * floats);
                                });
}

// One row block of out (+)= rows of a, depth [p, p + depth), times packed b.
void multiply(const Operand& a, std::size_t begin, std::size_t end, std::size_t p, Block block,
              const Shape& shape, float* scratch, const MatrixSpan& out, std::size_t column) {
  // Rows of a are the columns of its transpose.
  const Operand flipped{a.data, a.stride, !a.transposed};
  const bool in_place = reads_rows(a, out.cols);
  const std::size_t whole = in_place ? (end - begin) / shape.rows_at_once * shape.rows_at_once : 0;
  if (begin + whole < end) {
    pack_block(flipped, p, block.depth, begin + whole, end - begin - whole, shape.rows_at_once,
               scratch, nullptr);
  }
  block.rows = end - begin;
  block.a = in_place ? a.data + begin * a.stride + p : scratch;
  block.a_row = in_place ? a.stride : 0;
  block.a_tail = scratch;
  multiply_block(block, out.row(begin) + column, out.stride);
}

void zero(const MatrixSpan& out) {
  for (std::size_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0F);
}

// Few rows: packing b would cost as much as the product, so its rows are read where they are.
void multiply_unpacked(const Operand& a, const MatrixView& b, const MatrixSpan& out,
                       const Executor& executor) {
  const Shape shape = tile_shape();
  const std::size_t width = shape.columns_at_once;
  const std::size_t m = round_up(out.rows, shape.rows_at_once);
  Matrix rows = Matrix::padded(1, m * b.rows);
  const Operand flipped{a.data, a.stride, !a.transposed};
  for (std::size_t p = 0; p < b.rows; p += kDepth) {
    pack_block(flipped, p, std::min(kDepth, b.rows - p), 0, out.rows, shape.rows_at_once,
               rows.row(0) + p * m, nullptr);
  }
  executor.parallel_for(out.cols, round_up(kColumns, width),
                        [&](std::size_t begin, std::size_t end) {
                          Matrix tail;
                          for (std::size_t p = 0; p < b.rows; p += kDepth) {
                            const std::size_t depth = std::min(kDepth, b.rows - p);
                            Block block{out.rows,
                                        (end - begin) / width * width,
                                        depth,
                                        rows.row(0) + p * m,
                                        0,
                                        nullptr,
                                        b.row(p) + begin,
                                        width,
                                        b.stride,
                                        p != 0};
                            multiply_block(block, out.data + begin, out.stride);
                            const std::size_t left = (end - begin) % width, column = end - left;
                            if (left == 0) continue;
                            if (tail.empty()) tail = Matrix(kDepth, width);
                            pack_block({b.data, b.stride, false}, p, depth, column, left, width,
                                       tail.data(), nullptr);
                            block.columns = left;
                            block.b = tail.data();
                            block.b_row = width;
                            multiply_block(block, out.data + column, out.stride);
                          }
                        });
}

// out (+)= a b.
void product(const Operand& a, const Operand& b, std::size_t k, const MatrixSpan& out, bool add,
             const Executor& executor) {
  if (out.rows == 0 || out.cols == 0) return;
  if (k == 0) return add ? void() : zero(out);
  const Shape shape = tile_shape();
  const std::size_t width = shape.columns_at_once;
  if (!add && !b.transposed && out.rows <= 4 * shape.rows_at_once) {
    return multiply_unpacked(a, {b.data, k, out.cols, b.stride}, out, executor);
  }
  const std::size_t columns_at_once = round_up(kColumns, width);
  const Scratch packed(round_up(std::min(out.cols, columns_at_once), width) * std::min(k, kDepth));
  for (std::size_t j = 0; j < out.cols; j += columns_at_once) {
    const std::size_t columns = std::min(columns_at_once, out.cols - j);
    for (std::size_t p = 0; p < k; p += kDepth) {
      const std::size_t depth = std::min(kDepth, k - p);
      pack_block(b, p, depth, j, columns, width, packed.data(), &executor);
      for_each_row_block(
          a, out, depth, shape, executor, [&](std::size_t begin, std::size_t end, float* scratch) {
            const Block block{0,       columns,       depth,         nullptr, 0,
                              nullptr, packed.data(), width * depth, width,   add || p != 0};
            multiply(a, begin, end, p, block, shape, scratch, out, j);
          });
    }
  }
}

}  // namespace

void gemm(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows && out.rows == a.rows && out.cols == b.cols);
  product({a.data, a.stride, false}, {b.data, b.stride, false}, a.cols, out, false, executor);
}

void gemm_nt(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor) {
  assert(a.cols == b.cols && out.rows == a.rows && out.cols == b.rows);
  if (a.rows <= 2) {  // packing b would cost more than the product
    const PairFn dot_of = dot_kernel();
    executor.parallel_for(b.rows, 256, [&](std::size_t begin, std::size_t end) {
      for (std::size_t i = 0; i < a.rows; ++i) {
        for (std::size_t j = begin; j < end; ++j)
          out.row(i)[j] = dot_of(a.row(i), b.row(j), a.cols);
      }
    });
    return;
  }
  if (a.rows <= 2 * tile_shape().columns_at_once) {
    // Few rows: b's rows are read where they are, against a packed. The transpose of the result.
    Matrix turned(b.rows, a.rows);
    gemm(b, pack_transposed(a), turned, executor);
    for (std::size_t i = 0; i < a.rows; ++i) {
      for (std::size_t j = 0; j < b.rows; ++j) out.row(i)[j] = turned.row(j)[i];
    }
    return;
  }
  product({a.data, a.stride, false}, {b.data, b.stride, true}, a.cols, out, false, executor);
}

void gemm_tn(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor) {
  assert(a.rows == b.rows && out.rows == a.cols && out.cols == b.cols);
  product({a.data, a.stride, true}, {b.data, b.stride, false}, a.rows, out, false, executor);
}

void gemm_tn_add(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
                 const Executor& executor) {
  assert(a.rows == b.rows && out.rows == a.cols && out.cols == b.cols);
  product({a.data, a.stride, true}, {b.data, b.stride, false}, a.rows, out, true, executor);
}

PackedMatrix PackedMatrix::make(const MatrixView& b, bool transposed) {
  PackedMatrix packed;
  packed.rows_ = transposed ? b.cols : b.rows;
  packed.cols_ = transposed ? b.rows : b.cols;
  packed.panel_ = tile_shape().columns_at_once;
  const std::size_t columns = round_up(packed.cols_, packed.panel_);
  packed.blocks_ = Matrix(1, columns * packed.rows_);
  for (std::size_t p = 0; p < packed.rows_; p += kDepth) {
    pack_block({b.data, b.stride, transposed}, p, std::min(kDepth, packed.rows_ - p), 0,
               packed.cols_, packed.panel_, packed.blocks_.data() + p * columns, nullptr);
  }
  return packed;
}

PackedMatrix pack(const MatrixView& b) { return PackedMatrix::make(b, false); }
PackedMatrix pack_transposed(const MatrixView& b) { return PackedMatrix::make(b, true); }

void gemm(const MatrixView& a, const PackedMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  if (out.rows == 0 || out.cols == 0) return;
  if (a.cols == 0) return zero(out);
  const Shape shape = tile_shape();
  assert(b.panel_ == shape.columns_at_once);
  const std::size_t columns = round_up(out.cols, b.panel_);
  const Operand rows{a.data, a.stride, false};
  for_each_row_block(rows, out, a.cols, shape, executor,
                     [&](std::size_t begin, std::size_t end, float* scratch) {
                       for (std::size_t p = 0; p < a.cols; p += kDepth) {
                         const std::size_t depth = std::min(kDepth, a.cols - p);
                         const Block block{0,
                                           out.cols,
                                           depth,
                                           nullptr,
                                           0,
                                           nullptr,
                                           b.blocks_.data() + p * columns,
                                           b.panel_ * depth,
                                           b.panel_,
                                           p != 0};
                         multiply(rows, begin, end, p, block, shape, scratch, out, 0);
                       }
                     });
}

}  // namespace halo::kernels
