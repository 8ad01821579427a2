#include "halo/core/kernels/gemm.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/gemm.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cstdint>
#include <cstring>
#include <memory>

#include "halo/core/kernels/simd-inl.h"

#ifndef HALO_CORE_KERNELS_GEMM_ONCE
#define HALO_CORE_KERNELS_GEMM_ONCE
namespace halo::kernels::gemm_detail {

// Depth of a block: a panel of b (16 KB on AVX2) stays in the first-level cache while a block of a
// (about 100 to 230 KB) stays in the second.
constexpr std::size_t kDepth = 256;
// Columns of b packed at once by a product that packs for itself: 1 MB.
constexpr std::size_t kColumns = 1024;
// Row panels in a block of a; the unit of parallel work.
constexpr std::size_t kPanelsPerBlock = 16;

// How an operand is read: element (i, j) of a matrix or of its transpose.
struct Operand {
  const float* data;
  std::size_t stride;
  bool transposed;
};

struct Shape {
  std::size_t rows_at_once, columns_at_once;
};

// Products of at most this many columns read a row-major a where it is: packing it would not be
// paid back.
constexpr std::size_t kColumnsWorthPacking = 512;

// out[rows, columns] (+)= a x packed b.
struct Block {
  std::size_t rows, columns, depth;
  const float* a;     // panels of rows_at_once rows, [depth][rows_at_once] each, where a_row is 0,
  std::size_t a_row;  // else rows this far apart,
  const float* a_tail;  // and the rows behind the last whole panel as a panel of their own
  const float* b;       // row p of panel j starts at b + j * b_panel + p * b_row
  std::size_t b_panel, b_row;
  bool add;
};

}  // namespace halo::kernels::gemm_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using gemm_detail::Block;
using gemm_detail::Operand;
using gemm_detail::Shape;

// 2 x 14 accumulators fill the 32 registers of AVX-512, 2 x 6 the 16 of everything before.
constexpr std::size_t kRows = HWY_TARGET <= HWY_AVX3 ? 14 : 6;
constexpr std::size_t kVecs = 2;
using Tag = hn::ScalableTag<float>;

void TileShape(Shape* shape) { *shape = {kRows, kVecs * hn::Lanes(Tag())}; }

// A width that the compiler knows: a few moves a row, no call.
template <std::size_t kWidth>
HWY_INLINE void CopyRows(const float* HWY_RESTRICT from, std::size_t stride, std::size_t depth,
                         float* HWY_RESTRICT out) {
  for (std::size_t p = 0; p < depth; ++p, from += stride, out += kWidth) {
    std::memcpy(out, from, kWidth * sizeof(float));
  }
}

// Lays `count` <= width columns of b, from (row, column), out as [depth][width], zeros behind.
void PackColumns(const Operand& b, std::size_t row, std::size_t column, std::size_t depth,
                 std::size_t count, std::size_t width, float* HWY_RESTRICT out) {
  if (b.transposed) {
    const float* from = b.data + column * b.stride + row;
    if (count < width) std::fill_n(out, depth * width, 0.0F);
    // A few rows of the output at a time, so that its lines are written whole.
    for (std::size_t p = 0; p < depth; p += 16) {
      const std::size_t end = std::min(depth, p + 16);
      for (std::size_t j = 0; j < count; ++j) {
        const float* HWY_RESTRICT line = from + j * b.stride;
        for (std::size_t q = p; q < end; ++q) out[q * width + j] = line[q];
      }
    }
    return;
  }
  const float* from = b.data + row * b.stride + column;
  if (count == width && width == kRows) return CopyRows<kRows>(from, b.stride, depth, out);
  if (count == width && width == kVecs * hn::MaxLanes(Tag())) {
    return CopyRows<kVecs * hn::MaxLanes(Tag())>(from, b.stride, depth, out);
  }
  for (std::size_t p = 0; p < depth; ++p, from += b.stride, out += width) {
    std::copy_n(from, count, out);
    std::fill_n(out + count, width - count, 0.0F);
  }
}

template <bool kWhole, bool kRowMajor>
HWY_INLINE void Tile(const Block& block, const float* a, const float* b, float* out,
                     std::size_t stride, std::size_t rows, std::size_t columns) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  HWY_ALIGN float edge[kWhole ? 1 : kRows * kVecs * HWY_MAX_BYTES / sizeof(float)];
  simd::tile_product<kRows, kVecs, kRowMajor>(
      tag, block.depth, a, kRowMajor ? block.a_row : kRows, b, block.b_row,
      [&](const auto& acc) HWY_ATTR {
        HALO_UNROLL
        for (std::size_t r = 0; r < kRows; ++r) {
          HALO_UNROLL
          for (std::size_t v = 0; v < kVecs; ++v) {
            if constexpr (kWhole) {
              float* to = out + r * stride + v * lanes;
              hn::StoreU(block.add ? hn::Add(hn::LoadU(tag, to), acc[r][v]) : acc[r][v], tag, to);
            } else {
              hn::Store(acc[r][v], tag, edge + (r * kVecs + v) * lanes);
            }
          }
        }
      });
  if constexpr (!kWhole) {
    for (std::size_t r = 0; r < rows; ++r) {
      for (std::size_t j = 0; j < columns; ++j) {
        const float sum = edge[r * kVecs * lanes + j];
        float& to = out[r * stride + j];
        to = block.add ? to + sum : sum;
      }
    }
  }
}

template <bool kRowMajor>
HWY_INLINE void AnyTile(const Block& block, const float* a, const float* b, float* out,
                        std::size_t stride, std::size_t rows, std::size_t columns) {
  if (rows == kRows && columns == kVecs * hn::Lanes(Tag())) {
    Tile<true, kRowMajor>(block, a, b, out, stride, rows, columns);
  } else {
    Tile<false, kRowMajor>(block, a, b, out, stride, rows, columns);
  }
}

void MultiplyBlock(const Block& block, float* out, std::size_t stride) {
  const std::size_t width = kVecs * hn::Lanes(Tag());
  for (std::size_t j = 0; j < block.columns; j += width) {
    const float* b = block.b + j / width * block.b_panel;
    const std::size_t columns = std::min(width, block.columns - j);
    for (std::size_t i = 0; i < block.rows; i += kRows) {
      const std::size_t rows = std::min(kRows, block.rows - i);
      float* to = out + i * stride + j;
      if (block.a_row == 0) {
        AnyTile<false>(block, block.a + i * block.depth, b, to, stride, rows, columns);
      } else if (rows == kRows) {
        AnyTile<true>(block, block.a + i * block.a_row, b, to, stride, rows, columns);
      } else {
        AnyTile<false>(block, block.a_tail, b, to, stride, rows, columns);
      }
    }
  }
}

void Widen(const Bf16* x, std::size_t count, float* out) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  std::size_t i = 0;
  for (; i + lanes <= count; i += lanes) hn::StoreU(simd::load(tag, x + i), tag, out + i);
  for (; i < count; ++i) out[i] = bf16_to_float(x[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/distance.h"

namespace halo::kernels {

HWY_EXPORT(TileShape);
HWY_EXPORT(PackColumns);
HWY_EXPORT(MultiplyBlock);
HWY_EXPORT(Widen);

namespace {

using gemm_detail::Block;
using gemm_detail::kColumns;
using gemm_detail::kDepth;
using gemm_detail::Operand;
using gemm_detail::Shape;

Shape tile_shape() {
  Shape shape{};
  HWY_DYNAMIC_DISPATCH(TileShape)(&shape);
  return shape;
}

std::size_t round_up(std::size_t n, std::size_t multiple) {
  return (n + multiple - 1) / multiple * multiple;
}

// Panels of `width` columns of b's rows [row, row + depth), columns [column, column + count).
void pack_block(const Operand& b, std::size_t row, std::size_t depth, std::size_t column,
                std::size_t count, std::size_t width, float* out, const Executor* executor) {
  const auto kernel = HWY_DYNAMIC_DISPATCH(PackColumns);
  const auto panels = [&](std::size_t begin, std::size_t end) {
    for (std::size_t j = begin * width; j < std::min(count, end * width); j += width) {
      kernel(b, row, column + j, depth, std::min(width, count - j), width, out + j * depth);
    }
  };
  const std::size_t n = (count + width - 1) / width;
  if (executor != nullptr) {
    executor->parallel_for(n, 8, panels);
  } else {
    panels(0, n);
  }
}

// Room for packed panels; not initialised.
class Scratch {
 public:
  explicit Scratch(std::size_t floats)
      : floats_(std::make_unique_for_overwrite<float[]>(floats + kAlign)) {}
  float* data() const {
    const auto at = reinterpret_cast<std::uintptr_t>(floats_.get()) / sizeof(float);
    return floats_.get() + (kAlign - at % kAlign) % kAlign;
  }

 private:
  static constexpr std::size_t kAlign = 16;  // floats a cache line
  std::unique_ptr<float[]> floats_;
};

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
  HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out.row(begin) + column, out.stride);
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
  executor.parallel_for(
      out.cols, round_up(kColumns, width), [&](std::size_t begin, std::size_t end) {
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
          HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out.data + begin, out.stride);
          const std::size_t left = (end - begin) % width, column = end - left;
          if (left == 0) continue;
          if (tail.empty()) tail = Matrix(kDepth, width);
          pack_block({b.data, b.stride, false}, p, depth, column, left, width, tail.data(),
                     nullptr);
          block.columns = left;
          block.b = tail.data();
          block.b_row = width;
          HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out.data + column, out.stride);
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
  const auto kernel = HWY_DYNAMIC_DISPATCH(Widen);
  for (std::size_t i = 0; i < to.rows; ++i) kernel(from.row(i), to.cols, to.row(i));
}

void gemm(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  if (out.rows == 0 || out.cols == 0) return;
  if (a.cols == 0) return zero(out);
  const Shape shape = tile_shape();
  assert(b.panel_ == shape.columns_at_once);
  const std::size_t columns = round_up(out.cols, b.panel_);
  const std::size_t grain = shape.rows_at_once * gemm_detail::kPanelsPerBlock;
  const std::size_t most = std::min(kDepth, a.cols);
  // A thread's block of a and one panel of b, widened where it is used: once for all rows.
  const std::size_t floats = round_up((grain + b.panel_) * most, 16);
  const Scratch scratch(floats * executor.threads());
  const auto kernel = HWY_DYNAMIC_DISPATCH(Widen);
  executor.parallel_for_workers(
      out.rows, grain, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        float* rows = scratch.data() + worker * floats;
        float* panel = rows + grain * most;
        for (std::size_t p = 0; p < a.cols; p += kDepth) {
          const std::size_t depth = std::min(kDepth, a.cols - p);
          pack_block({a.data, a.stride, true}, p, depth, begin, end - begin, shape.rows_at_once,
                     rows, nullptr);
          for (std::size_t j = 0; j < out.cols; j += b.panel_) {
            kernel(b.blocks_.row(0) + p * columns + j * depth, b.panel_ * depth, panel);
            const Block block{end - begin, std::min(b.panel_, out.cols - j),
                              depth,       rows,
                              0,           nullptr,
                              panel,       0,
                              b.panel_,    p != 0};
            HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out.row(begin) + j, out.stride);
          }
        }
      });
}

void gemm(const HalfView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor) {
  assert(a.cols == b.rows() && out.rows == a.rows && out.cols == b.cols());
  const std::size_t at_once = tile_shape().rows_at_once * gemm_detail::kPanelsPerBlock;
  static const Executor calling_thread(1);
  executor.parallel_for(a.rows, at_once, [&](std::size_t begin, std::size_t end) {
    Matrix rows = Matrix::padded(end - begin, a.cols);
    widen(a.sub_rows(begin, end - begin), rows);
    gemm(rows, b, out.sub_rows(begin, end - begin), calling_thread);
  });
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
