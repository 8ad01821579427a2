#include "halo/core/kernels/gemm_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/gemm_tiles.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
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

void multiply_block(const Block& block, float* out, std::size_t stride) {
  HWY_DYNAMIC_DISPATCH(MultiplyBlock)(block, out, stride);
}

void widen(const Bf16* x, std::size_t count, float* out) {
  HWY_DYNAMIC_DISPATCH(Widen)(x, count, out);
}

}  // namespace gemm_detail
}  // namespace halo::kernels
#endif  // HWY_ONCE
