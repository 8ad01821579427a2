#include "halo/core/kernels/gemm_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/gemm_tiles.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstring>

#include "halo/core/kernels/simd-inl.h"

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
// The last rows of a block may fill a part of a tile: its tiles come in multiples of this, too.
constexpr std::size_t kFewRows = HWY_TARGET <= HWY_AVX3 ? 4 : 2;
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

// One tile of kTileRows rows, `rows` of which count.
template <std::size_t kTileRows, bool kWhole, bool kRowMajor>
HWY_INLINE void Tile(const Block& block, const float* a, std::size_t lda, const float* b,
                     float* out, std::size_t stride, std::size_t rows, std::size_t columns) {
  const Tag tag;
  const std::size_t lanes = hn::Lanes(tag);
  if constexpr (kWhole) {  // what is stored at the end arrives while the products are summed
    HALO_UNROLL
    for (std::size_t r = 0; r < kTileRows; ++r) {
      hwy::Prefetch(out + r * stride);
      hwy::Prefetch(out + r * stride + kVecs * lanes - 1);
    }
  }
  HWY_ALIGN float edge[kWhole ? 1 : kTileRows * kVecs * HWY_MAX_BYTES / sizeof(float)];
  simd::tile_product<kTileRows, kVecs, kRowMajor>(
      tag, block.depth, a, lda, b, block.b_row, [&](const auto& acc) HWY_ATTR {
        HALO_UNROLL
        for (std::size_t r = 0; r < kTileRows; ++r) {
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
    for (std::size_t r = 0; r < std::min(rows, kTileRows); ++r) {
      for (std::size_t j = 0; j < std::min(columns, kVecs * lanes); ++j) {
        const float sum = edge[r * kVecs * lanes + j];
        float& to = out[r * stride + j];
        to = block.add ? to + sum : sum;
      }
    }
  }
}

// The panels of b from column `first` to `last`, past one tile's rows.
template <std::size_t kTileRows, bool kRowMajor>
void Panels(const Block& block, const float* a, std::size_t lda, std::size_t first,
            std::size_t last, float* out, std::size_t stride, std::size_t rows) {
  const std::size_t width = kVecs * hn::Lanes(Tag());
  for (std::size_t j = first; j < last; j += width) {
    const float* b = block.b + j / width * block.b_panel;
    const std::size_t columns = std::min(width, block.columns - j);
    if (rows == kTileRows && columns == width) {
      Tile<kTileRows, true, kRowMajor>(block, a, lda, b, out + j, stride, rows, columns);
    } else {
      Tile<kTileRows, false, kRowMajor>(block, a, lda, b, out + j, stride, rows, columns);
    }
  }
}

template <bool kRowMajor>
void MultiplyRows(const Block& block, float* out, std::size_t stride) {
  const std::size_t at_once = gemm_detail::kPanelsAtOnce * kVecs * hn::Lanes(Tag());
  const gemm_detail::Rows& a = block.a;
  for (std::size_t first = 0; first < block.columns; first += at_once) {
    const std::size_t last = std::min(block.columns, first + at_once);
    for (std::size_t i = 0; i < block.rows; i += kRows) {
      const std::size_t rows = std::min(kRows, block.rows - i);
      const bool in_place = i < a.in_place;
      const std::size_t lda = in_place ? a.stride : kRowMajor ? gemm_detail::kRowStride : kRows;
      const float* from = in_place ? a.data + i * (kRowMajor ? a.stride : 1)
                                   : a.copied + (i - a.in_place) * (kRowMajor ? lda : block.depth);
      float* to = out + i * stride;
      const auto panels = rows > 2 * kFewRows ? &Panels<kRows, kRowMajor>
                          : rows > kFewRows   ? &Panels<2 * kFewRows, kRowMajor>
                                              : &Panels<kFewRows, kRowMajor>;
      panels(block, from, lda, first, last, to, stride, rows);
    }
  }
}

void MultiplyBlock(const Block& block, float* out, std::size_t stride) {
  (block.a.transposed ? MultiplyRows<false> : MultiplyRows<true>)(block, out, stride);
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

namespace halo::kernels {

HWY_EXPORT(TileShape);
HWY_EXPORT(PackColumns);
HWY_EXPORT(MultiplyBlock);
HWY_EXPORT(Widen);

namespace gemm_detail {

Shape tile_shape() {
  Shape shape{};
  HWY_DYNAMIC_DISPATCH(TileShape)(&shape);
  return shape;
}

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

namespace {

bool readable_in_place(const Operand& a, std::size_t columns, const Shape& shape) {
  if (a.transposed) return columns <= 2 * shape.columns_at_once;
  constexpr std::size_t kPage = 4096 / sizeof(float);
  return a.stride % kPage != 0;
}

}  // namespace

std::size_t scratch_for(const Operand& a, std::size_t rows, std::size_t columns,
                        const Shape& shape) {
  const std::size_t at_once = shape.rows_at_once;
  return kRowStride * (readable_in_place(a, columns, shape) ? at_once : round_up(rows, at_once));
}

Rows lay_rows(const Operand& a, std::size_t begin, std::size_t end, std::size_t p,
              std::size_t depth, std::size_t columns, const Shape& shape, float* scratch) {
  const std::size_t count = end - begin, at_once = shape.rows_at_once;
  Rows rows{.transposed = a.transposed, .stride = a.stride, .copied = scratch};
  rows.in_place = readable_in_place(a, columns, shape) ? count / at_once * at_once : 0;
  if (a.transposed) {  // rows of a are the columns of its transpose
    rows.data = a.data + p * a.stride + begin;
    pack_block({a.data, a.stride, false}, p, depth, begin + rows.in_place, count - rows.in_place,
               at_once, scratch, nullptr);
    return rows;
  }
  rows.data = a.data + begin * a.stride + p;
  const std::size_t copies = round_up(count - rows.in_place, at_once);
  for (std::size_t i = 0; i < copies; ++i, scratch += kRowStride) {
    if (rows.in_place + i < count) {
      std::copy_n(rows.data + (rows.in_place + i) * a.stride, depth, scratch);
    } else {
      std::fill_n(scratch, depth, 0.0F);
    }
  }
  return rows;
}

void multiply_block(const Block& block, float* out, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out, stride);
}

void widen(const Bf16* x, std::size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Widen)(x, count, out);
}

}  // namespace gemm_detail
}  // namespace halo::kernels
#endif  // HWY_ONCE
