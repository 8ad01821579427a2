// Tiles of scores: what the forward and the backward pass of flash attention share. A task owns a
// block of columns (queries, or keys for the keys' gradients), so that a softmax over keys runs
// down a tile, lane by lane; the other side streams past in blocks of rows. Compiled once for each
// instruction set; included by a kernel's .cpp after <hwy/foreach_target.h>.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <limits>

#include "halo/core/half_matrix.h"
#include "halo/core/kernels/flash_shapes.h"
#include "halo/core/kernels/simd-inl.h"

#if defined(HALO_CORE_KERNELS_FLASH_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_FLASH_TILES_INL_H_
#undef HALO_CORE_KERNELS_FLASH_TILES_INL_H_
#else
#define HALO_CORE_KERNELS_FLASH_TILES_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace flash {
namespace hn = hwy::HWY_NAMESPACE;
using flash_detail::Range;
using flash_detail::Rows;
using flash_detail::seen;

using Tag = hn::ScalableTag<float>;
constexpr std::size_t kLanes = hn::MaxLanes(Tag());
constexpr float kNone = -std::numeric_limits<float>::infinity();

// Tiles of scores: kScoreRows x kPanel; tiles of outputs: kMixRows x kMixCols. Both fill the
// registers; kMixRows divides kPanel, which divides a task's columns.
constexpr bool kManyRegisters = HWY_TARGET <= HWY_AVX3;
constexpr std::size_t kScoreRows = kManyRegisters ? 8 : 4;
constexpr std::size_t kScoreVecs = 3;
constexpr std::size_t kPanel = kScoreVecs * kLanes;
constexpr std::size_t kMixRows = kLanes == 1 ? 3 : kManyRegisters ? 12 : 6;
constexpr std::size_t kMixVecs = 2;
constexpr std::size_t kMixCols = kMixVecs * kLanes;
static_assert(kPanel % kMixRows == 0 && flash_detail::kPad % kMixCols == 0);

// Rows [begin, end) are asked for early: they are far apart, and no hardware prefetcher sees them
// coming.
template <class T>
HWY_INLINE void PrefetchRows(const Rows<T>& from, std::size_t begin, std::size_t end) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (std::size_t i = begin; i < end; ++i) {
    for (std::size_t c = 0; c < from.cols; c += kLine) hwy::Prefetch(from.row(i) + c);
  }
}

// Columns of tiles: scale * from[begin, end), as panels [cols][kPanel], zeros behind.
template <class T>
void PackPanels(const Rows<T>& from, std::size_t begin, std::size_t end, float scale, float* out) {
  for (std::size_t c0 = begin; c0 < end; c0 += kPanel, out += from.cols * kPanel) {
    const std::size_t count = std::min(kPanel, end - c0);
    if (count < kPanel) std::fill_n(out, from.cols * kPanel, 0.0F);
    // A few rows of the output at a time, so that its lines are written whole.
    for (std::size_t p0 = 0; p0 < from.cols; p0 += 16) {
      const std::size_t p1 = std::min(from.cols, p0 + 16);
      for (std::size_t c = 0; c < count; ++c) {
        const T* HWY_RESTRICT row = from.row(c0 + c);
        for (std::size_t p = p0; p < p1; ++p) out[p * kPanel + c] = scale * simd::load_one(row + p);
      }
    }
  }
}

HWY_INLINE void CopyRow(const float* row, std::size_t count, float* out) {
  std::memcpy(out, row, count * sizeof(float));
}
HWY_INLINE void CopyRow(const Bf16* row, std::size_t count, float* out) {
  std::size_t c = 0;
  for (; c + kLanes <= count; c += kLanes) hn::StoreU(simd::load(Tag(), row + c), Tag(), out + c);
  for (; c < count; ++c) out[c] = bf16_to_float(row[c]);
}

// Rows of tiles: from[begin, end), one under the other without gaps, then zeros up to a whole tile.
template <class T>
void CopyRows(const Rows<T>& from, std::size_t begin, std::size_t end, float* out) {
  for (std::size_t i = begin; i < end; ++i, out += from.cols) CopyRow(from.row(i), from.cols, out);
  const std::size_t behind = (kScoreRows - (end - begin) % kScoreRows) % kScoreRows;
  std::fill_n(out, behind * from.cols, 0.0F);
}

// Rows to be mixed: from[begin, end) as panels [rows][kMixCols], zeros behind the last column.
template <class T>
void CopyPanels(const Rows<T>& from, std::size_t begin, std::size_t end, float* out) {
  for (std::size_t c = 0; c < from.cols; c += kMixCols) {
    const std::size_t count = std::min(kMixCols, from.cols - c);
    for (std::size_t i = begin; i < end; ++i, out += kMixCols) {
      const T* HWY_RESTRICT row = from.row(i) + c;
      if (count == kMixCols) {
        HALO_UNROLL
        for (std::size_t v = 0; v < kMixVecs; ++v) {
          hn::StoreU(simd::load(Tag(), row + v * kLanes), Tag(), out + v * kLanes);
        }
      } else {
        CopyRow(row, count, out);
        std::fill_n(out + count, kMixCols - count, 0.0F);
      }
    }
  }
}

// tile[begin ... end)[kPanel] = rows . a panel of columns; also writes up to a whole tile of rows.
// high[kPanel], where not null, takes in the largest of each column over whole tiles of the range.
HWY_INLINE void Scores(const float* rows, const float* panel, std::size_t depth, Range range,
                       float* tile, float* high = nullptr) {
  const Tag tag;
  for (std::size_t r = range.begin; r < range.end; r += kScoreRows) {
    float* to = tile + r * kPanel;
    const bool takes_max = high != nullptr && r + kScoreRows <= range.end;
    simd::tile_product<kScoreRows, kScoreVecs, true>(
        tag, depth, rows + r * depth, depth, panel, kPanel, [&](const auto& acc) HWY_ATTR {
          HALO_UNROLL
          for (std::size_t i = 0; i < kScoreRows; ++i) {
            HALO_UNROLL
            for (std::size_t v = 0; v < kScoreVecs; ++v) {
              hn::StoreU(acc[i][v], tag, to + i * kPanel + v * kLanes);
            }
          }
          if (!takes_max) return;
          HALO_UNROLL
          for (std::size_t v = 0; v < kScoreVecs; ++v) {
            auto largest = hn::LoadU(tag, high + v * kLanes);
            HALO_UNROLL
            for (std::size_t i = 0; i < kScoreRows; ++i) largest = hn::Max(largest, acc[i][v]);
            hn::StoreU(largest, tag, high + v * kLanes);
          }
        });
  }
}

// Where the largest scores of a range still have to be looked for after Scores() took in `high`.
inline std::size_t AfterWholeTiles(Range range) {
  return range.begin + (range.end - range.begin) / kScoreRows * kScoreRows;
}

// Scores of pairs further apart than the window become -inf. Row 0 of the tile is row `row0`, its
// columns start at `column0`.
inline void MaskBand(std::size_t row0, std::size_t column0, std::size_t window, Range range,
                     float* tile) {
  for (std::size_t r = range.begin; r < range.end; ++r) {
    const std::size_t row = row0 + r;
    const std::size_t first = row > window ? row - window : 0;
    if (first > column0) std::fill_n(tile + r * kPanel, std::min(kPanel, first - column0), kNone);
    if (row + window + 1 < column0 + kPanel) {
      const std::size_t from = row + window + 1 > column0 ? row + window + 1 - column0 : 0;
      std::fill_n(tile + r * kPanel + from, kPanel - from, kNone);
    }
  }
}

// out[c] += sum over range's rows r of tile[r][c] * mixed[r], for the columns of one panel.
// `mixed` holds panels of `rows` rows; out has `width` floats a column.
HWY_INLINE void Mix(const float* tile, const float* mixed, std::size_t rows, Range range,
                    std::size_t cols, float* out, std::size_t width) {
  const Tag tag;
  for (std::size_t c = 0; c < cols; c += kMixCols) {
    const float* b = mixed + c * rows + range.begin * kMixCols;
    for (std::size_t g = 0; g < kPanel; g += kMixRows) {
      float* to = out + g * width + c;
      simd::tile_product<kMixRows, kMixVecs, false>(
          tag, range.end - range.begin, tile + range.begin * kPanel + g, kPanel, b, kMixCols,
          [&](const auto& acc) HWY_ATTR {
            HALO_UNROLL
            for (std::size_t i = 0; i < kMixRows; ++i) {
              HALO_UNROLL
              for (std::size_t v = 0; v < kMixVecs; ++v) {
                float* at = to + i * width + v * kLanes;
                hn::StoreU(hn::Add(hn::LoadU(tag, at), acc[i][v]), tag, at);
              }
            }
          });
    }
  }
}

HWY_INLINE void ScaleRow(float* row, std::size_t width, float by) {
  const Tag tag;
  const auto factor = hn::Set(tag, by);
  for (std::size_t c = 0; c < width; c += kMixCols) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kMixVecs; ++v) {
      float* at = row + c + v * kLanes;
      hn::StoreU(hn::Mul(hn::LoadU(tag, at), factor), tag, at);
    }
  }
}

// The rows of a block [row0, row0 + count) that a panel's columns see, counted from row0.
inline Range Within(std::size_t column, std::size_t window, std::size_t row0, std::size_t count) {
  if (window >= row0 + count + column + kPanel) return {0, count};
  const Range all = seen(column, column + kPanel, window, row0 + count);
  const std::size_t begin = std::max(all.begin, row0) - row0;
  const std::size_t end = std::max(all.end, row0) - row0;
  // A panel of scores is computed in whole tiles of rows.
  return {std::min(begin / kScoreRows * kScoreRows, end), end};
}

// Walks the tiles of columns [begin, end): load(row0, count) for each block of at most block_rows
// rows that some column sees, then visit(row0, count, c, range) for each panel of columns begin + c
// ... and the rows of the block that it sees. Blocks end at multiples of block_rows, so that what a
// panel sees is cut the same way whichever task has it, where begin is a multiple of kPanel.
template <class Load, class Visit>
HWY_INLINE void ForEachTile(std::size_t begin, std::size_t end, std::size_t rows,
                            std::size_t window, std::size_t block_rows, const Load& load,
                            const Visit& visit) {
  const Range all = seen(begin, end, window, rows);
  std::size_t next = 0;
  for (std::size_t row0 = all.begin / kScoreRows * kScoreRows; row0 < all.end; row0 = next) {
    next = std::min(all.end, (row0 / block_rows + 1) * block_rows);
    const std::size_t count = next - row0;
    load(row0, count);
    for (std::size_t c = 0; c < end - begin; c += kPanel) {
      const Range range = Within(begin + c, window, row0, count);
      if (range.begin != range.end) visit(row0, count, c, range);
    }
  }
}

}  // namespace flash
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_FLASH_TILES_INL_H_
