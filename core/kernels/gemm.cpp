#include "halo/core/kernels/gemm.h"

#include <algorithm>
#include <cassert>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm_tiles.h"

namespace halo::kernels {
namespace {

using gemm_detail::Block;
using gemm_detail::kColumns;
using gemm_detail::kDepth;
using gemm_detail::lay_rows;
using gemm_detail::multiply_block;
using gemm_detail::Operand;
using gemm_detail::pack_block;
using gemm_detail::round_up;
using gemm_detail::Rows;
using gemm_detail::Scratch;
using gemm_detail::scratch_for;
using gemm_detail::Shape;
using gemm_detail::tile_shape;

// Rows a block: whole tiles, at most kTilesPerBlock, as many blocks for each thread.
std::size_t rows_a_block(std::size_t rows, const Shape& shape, std::size_t threads) {
  const std::size_t tiles = (rows + shape.rows_at_once - 1) / shape.rows_at_once;
  const std::size_t most = gemm_detail::kTilesPerBlock;
  const std::size_t blocks = round_up((tiles + most - 1) / most, std::min(threads, tiles));
  return shape.rows_at_once * ((tiles + blocks - 1) / blocks);
}

// Runs body(begin, end, scratch) over the row blocks of out, `scratch` with room for a block of a.
template <class Body>
void for_each_row_block(const Operand& a, const MatrixSpan& out, const Shape& shape,
                        const Executor& executor, const Body& body) {
  const std::size_t grain = rows_a_block(out.rows, shape, executor.threads());
  const std::size_t floats = scratch_for(a, std::min(out.rows, grain), out.cols, shape);
  const Scratch scratch(floats * (out.rows <= grain ? 1 : executor.threads()));
  executor.parallel_for_workers(out.rows, grain,
                                [&](std::size_t worker, std::size_t begin, std::size_t end) {
                                  body(begin, end, scratch.data() + worker * floats);
                                });
}

// One row block of out (+)= rows of a, depth [p, p + depth), times packed b.
void multiply(const Operand& a, std::size_t begin, std::size_t end, std::size_t p, Block block,
              const Shape& shape, float* scratch, const MatrixSpan& out, std::size_t column) {
  block.rows = end - begin;
  block.a = lay_rows(a, begin, end, p, block.depth, block.columns, shape, scratch);
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
  const std::size_t floats = scratch_for(a, out.rows, out.cols, shape);
  const Scratch copies((b.rows + kDepth - 1) / kDepth * floats);
  std::vector<Rows> rows;
  for (std::size_t p = 0; p < b.rows; p += kDepth) {
    rows.push_back(lay_rows(a, 0, out.rows, p, std::min(kDepth, b.rows - p), out.cols, shape,
                            copies.data() + p / kDepth * floats));
  }
  executor.parallel_for(out.cols, round_up(kColumns, width),
                        [&](std::size_t begin, std::size_t end) {
                          Matrix tail;
                          for (std::size_t p = 0; p < b.rows; p += kDepth) {
                            const std::size_t left = (end - begin) % width, column = end - left;
                            Block block{.rows = out.rows,
                                        .columns = column - begin,
                                        .depth = std::min(kDepth, b.rows - p),
                                        .a = rows[p / kDepth],
                                        .b = b.row(p) + begin,
                                        .b_panel = width,
                                        .b_row = b.stride,
                                        .add = p != 0};
                            multiply_block(block, out.data + begin, out.stride);
                            if (left == 0) continue;
                            if (tail.empty()) tail = Matrix(kDepth, width);
                            pack_block({b.data, b.stride, false}, p, block.depth, column, left,
                                       width, tail.data(), nullptr);
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
      const Block block{.columns = columns,
                        .depth = depth,
                        .b = packed.data(),
                        .b_panel = width * depth,
                        .b_row = width,
                        .add = add || p != 0};
      for_each_row_block(a, out, shape, executor,
                         [&](std::size_t begin, std::size_t end, float* scratch) {
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

PackedMatrix PackedMatrix::make(const MatrixView& b, bool transposed, const Executor* executor) {
  PackedMatrix packed;
  packed.rows_ = transposed ? b.cols : b.rows;
  packed.cols_ = transposed ? b.rows : b.cols;
  packed.panel_ = tile_shape().columns_at_once;
  const std::size_t columns = round_up(packed.cols_, packed.panel_);
  packed.blocks_ = Matrix(1, columns * packed.rows_);
  for (std::size_t p = 0; p < packed.rows_; p += kDepth) {
    pack_block({b.data, b.stride, transposed}, p, std::min(kDepth, packed.rows_ - p), 0,
               packed.cols_, packed.panel_, packed.blocks_.data() + p * columns, executor);
  }
  return packed;
}

PackedMatrix pack(const MatrixView& b) { return PackedMatrix::make(b, false, nullptr); }
PackedMatrix pack_transposed(const MatrixView& b) { return PackedMatrix::make(b, true, nullptr); }
PackedMatrix pack_in_parallel(const MatrixView& b, const Executor& executor) {
  return PackedMatrix::make(b, false, &executor);
}

void gemm(const MatrixView& a, const PackedMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  if (out.rows == 0 || out.cols == 0) return;
  if (a.cols == 0) return zero(out);
  const Shape shape = tile_shape();
  assert(b.panel_ == shape.columns_at_once);
  const std::size_t columns = round_up(out.cols, b.panel_);
  const Operand rows{a.data, a.stride, false};
  for_each_row_block(rows, out, shape, executor,
                     [&](std::size_t begin, std::size_t end, float* scratch) {
                       for (std::size_t p = 0; p < a.cols; p += kDepth) {
                         const std::size_t depth = std::min(kDepth, a.cols - p);
                         const Block block{.columns = out.cols,
                                           .depth = depth,
                                           .b = b.blocks_.data() + p * columns,
                                           .b_panel = b.panel_ * depth,
                                           .b_row = b.panel_,
                                           .add = p != 0};
                         multiply(rows, begin, end, p, block, shape, scratch, out, 0);
                       }
                     });
}

}  // namespace halo::kernels
