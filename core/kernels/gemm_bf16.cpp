#include "halo/core/kernels/gemm_bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/gemm_bf16.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>

#include "halo/core/kernels/bf16-inl.h"

#if HWY_TARGET == HWY_AVX3
HALO_BF16_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
using bf16::kPanel;
using bf16::kPanelsAtOnce;
using bf16::kRowPairs;
using bf16::kTileRows;
using bf16::Pair;
using bf16::PairBlock;
using bf16_simd::kLanes;

void RoundRows(const float* a, std::size_t stride, std::size_t rows, std::size_t depth, Pair* out) {
  for (std::size_t i = 0; i < rows; ++i) {
    bf16_simd::RoundRow(a + i * stride, depth, 1.0F, out + i * kRowPairs);
  }
  for (std::size_t i = rows; i % kTileRows != 0; ++i) {
    for (std::size_t p = 0; p < bf16::pairs_of(depth); ++p) out[i * kRowPairs + p] = 0;
  }
}

void PackPanels(const float* b, std::size_t stride, std::size_t depth, std::size_t columns,
                Pair* out) {
  for (std::size_t j = 0; j < columns; j += kPanel) {
    const std::size_t count = columns - j < kPanel ? columns - j : kPanel;
    for (std::size_t p = 0; p < depth; p += 2, out += kPanel) {
      if (count < kPanel) {
        for (std::size_t c = count; c < kPanel; ++c) out[c] = 0;
      }
      const float* row = b + p * stride + j;
      bf16_simd::PairRows(row, p + 1 < depth ? row + stride : nullptr, count, out);
    }
  }
}

// The panels of b from column `first` to `last`, past one tile's rows; the template arguments say
// what happens to its sums.
template <std::size_t kRows, bool kAdd, bool kRounded, bool kTransposed>
void Panels(const PairBlock& block, const Pair* a, std::size_t a_row, std::size_t first,
            std::size_t last, std::size_t rows, float* HWY_RESTRICT out, std::size_t stride) {
  for (std::size_t j = first; j < last; j += kPanel) {
    const Pair* b = block.b + j * block.pairs;
    const std::size_t columns = block.columns - j;
    const __mmask16 lanes[2] = {
        bf16_simd::FirstLanes(columns),
        columns > kLanes ? bf16_simd::FirstLanes(columns - kLanes) : __mmask16{0}};
    float* HWY_RESTRICT tile = out + j;
    HALO_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {  // stored at the end: arrives meanwhile
      if (r >= rows) break;
      hwy::Prefetch(tile + r * stride);
      hwy::Prefetch(tile + r * stride + std::min(columns, kPanel) - 1);
    }
    bf16_simd::TileProduct<kRows, 2, !kTransposed>(
        block.pairs, a, a_row, b, kPanel, [&](const auto& acc) HALO_BF16_ATTR {
          HALO_UNROLL
          for (std::size_t r = 0; r < kRows; ++r) {
            if (r >= rows) return;
            HALO_UNROLL
            for (std::size_t v = 0; v < 2; ++v) {
              float* to = tile + r * stride + v * kLanes;
              __m512 sum = acc[r][v];
              if (kAdd) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(lanes[v], to), sum);
              _mm512_mask_storeu_ps(to, lanes[v], kRounded ? bf16_simd::Rounded(sum) : sum);
            }
          }
        });
  }
}

template <bool kAdd, bool kRounded, bool kTransposed = false>
void MultiplyTiles(const PairBlock& block, std::size_t a_row, float* HWY_RESTRICT out,
                   std::size_t stride) {
  constexpr std::size_t kFew = 4;  // the last rows may fill a part of a tile
  for (std::size_t first = 0; first < block.columns; first += kPanelsAtOnce * kPanel) {
    const std::size_t last = std::min(block.columns, first + kPanelsAtOnce * kPanel);
    for (std::size_t i = 0; i < block.rows; i += kTileRows) {
      const std::size_t rows = std::min(kTileRows, block.rows - i);
      const Pair* a = block.a + (kTransposed ? i : i * a_row);
      const auto panels = rows > 2 * kFew ? &Panels<kTileRows, kAdd, kRounded, kTransposed>
                          : rows > kFew   ? &Panels<2 * kFew, kAdd, kRounded, kTransposed>
                                          : &Panels<kFew, kAdd, kRounded, kTransposed>;
      panels(block, a, a_row, first, last, rows, out + i * stride, stride);
    }
  }
}

void Multiply(const PairBlock& block, float* out, std::size_t stride) {
  const auto tiles =
      block.add ? (block.rounded ? &MultiplyTiles<true, true> : &MultiplyTiles<true, false>)
                : (block.rounded ? &MultiplyTiles<false, true> : &MultiplyTiles<false, false>);
  tiles(block, kRowPairs, out, stride);
}

void MultiplyTransposed(const PairBlock& block, std::size_t a_row, float* out, std::size_t stride) {
  const auto tiles =
      block.add ? &MultiplyTiles<true, false, true> : &MultiplyTiles<false, false, true>;
  tiles(block, a_row, out, stride);
}

void PairAllRows(const float* a, std::size_t stride, std::size_t depth, std::size_t columns,
                 std::size_t stride_out, Pair* out) {
  for (std::size_t p = 0; p < depth; p += 2, out += stride_out) {
    const float* row = a + p * stride;
    bf16_simd::PairRows(row, p + 1 < depth ? row + stride : nullptr, columns, out);
    for (std::size_t c = columns; c < stride_out; ++c) out[c] = 0;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#if HWY_ONCE
namespace halo::kernels::bf16 {

void round_rows(const float* a, std::size_t stride, std::size_t rows, std::size_t depth,
                Pair* out) {
  HALO_BF16_CALL(RoundRows)(a, stride, rows, depth, out);
}

void pack_panels(const float* b, std::size_t stride, std::size_t depth, std::size_t columns,
                 Pair* out) {
  HALO_BF16_CALL(PackPanels)(b, stride, depth, columns, out);
}

void pair_rows(const float* a, std::size_t stride, std::size_t depth, std::size_t columns,
               std::size_t stride_out, Pair* out) {
  HALO_BF16_CALL(PairAllRows)(a, stride, depth, columns, stride_out, out);
}

void multiply(const PairBlock& block, float* out, std::size_t stride) {
  HALO_BF16_CALL(Multiply)(block, out, stride);
}

void multiply_transposed(const PairBlock& block, std::size_t a_row, float* out,
                         std::size_t stride) {
  HALO_BF16_CALL(MultiplyTransposed)(block, a_row, out, stride);
}

}  // namespace halo::kernels::bf16
#endif  // HWY_ONCE
