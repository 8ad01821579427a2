#include "halo/core/kernels/flash_bf16.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/flash_bf16.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "halo/core/kernels/bf16-inl.h"
#include "halo/core/kernels/flash_tiles-inl.h"

#if HWY_TARGET == HWY_AVX3
HALO_BF16_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace {

using bf16::Pair;
using bf16::pairs_of;
using bf16_simd::kLanes;
using flash::kMixCols;
using flash::kMixRows;
using flash::kNone;
using flash::kPanel;
using flash::kScoreRows;
using flash::kScoreVecs;
using flash_detail::Forward;
using flash_detail::padded;
using flash_detail::Range;
using flash_detail::Rows;

constexpr float kLog2E = 1.44269504F;
constexpr float kSmallest = 1e-37F;  // a scale that keeps -inf what it is

// What is left of queries of one task, and of the block of keys at hand.
struct Room {
  Pair* columns;  // queries: panels [pairs][kPanel]
  float* mixed;   // [columns][padded(dv)]
  Pair* keys;     // row by row
  Pair* values;   // panels [pairs of rows][kMixCols]
  float* tile;    // [rows][kPanel]
  Pair* weights;  // [pairs of rows][kPanel]
  float *max, *sum, *factor;
};

HWY_INLINE void RoundInto(const float* row, std::size_t count, Pair* out) {
  bf16_simd::RoundRow(row, count, 1.0F, out);
}
HWY_INLINE void RoundInto(const Bf16* row, std::size_t count, Pair* out) {
  if (count % 2 != 0) out[count / 2] = row[count - 1];
  std::memcpy(out, row, count / 2 * sizeof(Pair));
}

HWY_INLINE void PairInto(const float* first, const float* second, std::size_t count, Pair* out) {
  bf16_simd::PairRows(first, second, count, out);
}
HWY_INLINE void PairInto(const Bf16* first, const Bf16* second, std::size_t count, Pair* out) {
  for (std::size_t c = 0; c < count; ++c) {
    out[c] = Pair{first[c]} | (second == nullptr ? 0U : Pair{second[c]} << 16);
  }
}

// Queries times `sign`, as panels of columns, zeros behind.
void PackColumns(const Rows<float>& from, std::size_t begin, std::size_t end, float sign,
                 Pair* out) {
  const std::size_t pairs = pairs_of(from.cols);
  constexpr std::size_t kAtOnce = 256;
  HWY_ALIGN Pair row[kAtOnce];
  for (std::size_t c0 = begin; c0 < end; c0 += kPanel, out += pairs * kPanel) {
    const std::size_t count = end - c0 < kPanel ? end - c0 : kPanel;
    if (count < kPanel) std::memset(out, 0, pairs * kPanel * sizeof(Pair));
    for (std::size_t c = 0; c < count; ++c) {
      for (std::size_t d = 0; d < from.cols; d += 2 * kAtOnce) {
        const std::size_t left = from.cols - d < 2 * kAtOnce ? from.cols - d : 2 * kAtOnce;
        bf16_simd::RoundRow(from.row(c0 + c) + d, left, sign, row);
        for (std::size_t p = 0; p < pairs_of(left); ++p) out[(d / 2 + p) * kPanel + c] = row[p];
      }
    }
  }
}

// Keys and values [begin, begin + count).
template <class T>
void LoadRows(const Forward<T>& f, std::size_t begin, std::size_t count, const Room& room) {
  const std::size_t pairs = pairs_of(f.k.cols);
  flash::PrefetchRows(f.k, begin, begin + count);
  flash::PrefetchRows(f.v, begin, begin + count);
  for (std::size_t i = 0; i < count; ++i) {
    RoundInto(f.k.row(begin + i), f.k.cols, room.keys + i * pairs);
  }
  const std::size_t behind = (kScoreRows - count % kScoreRows) % kScoreRows;
  std::memset(room.keys + count * pairs, 0, behind * pairs * sizeof(Pair));
  Pair* out = room.values;
  for (std::size_t c = 0; c < f.v.cols; c += kMixCols) {
    const std::size_t width = f.v.cols - c < kMixCols ? f.v.cols - c : kMixCols;
    for (std::size_t i = 0; i < count; i += 2, out += kMixCols) {
      if (width < kMixCols) std::memset(out, 0, kMixCols * sizeof(Pair));
      PairInto(f.v.row(begin + i) + c, i + 1 < count ? f.v.row(begin + i + 1) + c : nullptr, width,
               out);
    }
  }
}

// flash::Scores of pairs.
HWY_INLINE void PairScores(const Pair* keys, const Pair* panel, std::size_t pairs, Range range,
                           float* tile, float* high) {
  for (std::size_t r = range.begin; r < range.end; r += kScoreRows) {
    float* to = tile + r * kPanel;
    const bool takes_max = high != nullptr && r + kScoreRows <= range.end;
    bf16_simd::TileProduct<kScoreRows, kScoreVecs, true>(
        pairs, keys + r * pairs, pairs, panel, kPanel, [&](const auto& acc) HALO_BF16_ATTR {
          HALO_UNROLL
          for (std::size_t i = 0; i < kScoreRows; ++i) {
            HALO_UNROLL
            for (std::size_t v = 0; v < kScoreVecs; ++v) {
              _mm512_storeu_ps(to + i * kPanel + v * kLanes, acc[i][v]);
            }
          }
          if (!takes_max) return;
          HALO_UNROLL
          for (std::size_t v = 0; v < kScoreVecs; ++v) {
            __m512 largest = _mm512_loadu_ps(high + v * kLanes);
            HALO_UNROLL
            for (std::size_t i = 0; i < kScoreRows; ++i) {
              largest = _mm512_max_ps(largest, acc[i][v]);
            }
            _mm512_storeu_ps(high + v * kLanes, largest);
          }
        });
  }
}

// 2^x for x <= 0 within 8e-5 of itself, 50 times finer than bfloat16; 0 below 2^-126 or so, and for
// -inf; NaN stays NaN.
HWY_INLINE __m512 Exp2(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-200.0F), x);
  const __m512 n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 r = _mm512_sub_ps(x, n);
  __m512 p = _mm512_fmadd_ps(_mm512_set1_ps(0.0551716685F), r, _mm512_set1_ps(0.242611125F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.693260968F));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(0.999928057F));
  return _mm512_scalef_ps(p, n);
}

// weights = e^(scale (score - max)) in pairs of rows; max (of scores) and sum take them in, and
// `factor` receives what earlier sums must be multiplied by. True where some factor is not 1.
// `largest` holds those of the range's rows before row `looked_at`.
HWY_INLINE bool PairWeights(const float* tile, Range range, const float* largest,
                            std::size_t looked_at, float scale, Pair* weights, float* max,
                            float* sum, float* factor) {
  const __m512 by = _mm512_set1_ps(std::fmax(scale * kLog2E, kSmallest)),
               none = _mm512_set1_ps(kNone);
  __mmask16 changed = 0;
  HALO_UNROLL
  for (std::size_t v = 0; v < kScoreVecs; ++v) {
    const float* from = tile + v * kLanes;
    const __m512 before = _mm512_loadu_ps(max + v * kLanes);
    __m512 high = _mm512_max_ps(before, _mm512_loadu_ps(largest + v * kLanes));
    std::size_t r = looked_at;
    for (; r < range.end; ++r) high = _mm512_max_ps(high, _mm512_loadu_ps(from + r * kPanel));
    // A column that has seen nothing yet: -inf less 0 stays -inf, less -inf would be NaN.
    const __mmask16 seen = _mm512_cmp_ps_mask(high, none, _CMP_NEQ_UQ);
    const __m512 shift = _mm512_maskz_mov_ps(seen, high);
    const auto weight = [&](const float* score) HALO_BF16_ATTR {
      return Exp2(_mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(score), shift), by));
    };
    __m512 total = _mm512_setzero_ps(), total_odd = _mm512_setzero_ps();
    Pair* to = weights + v * kLanes;
    for (r = range.begin; r + 1 < range.end; r += 2) {
      const __m512 even = weight(from + r * kPanel), odd = weight(from + (r + 1) * kPanel);
      _mm512_storeu_si512(to + r / 2 * kPanel, bf16_simd::MakePairs(even, odd));
      total = _mm512_add_ps(total, even);
      total_odd = _mm512_add_ps(total_odd, odd);
    }
    if (r < range.end) {
      const __m512 last = weight(from + r * kPanel);
      _mm512_storeu_si512(to + r / 2 * kPanel, bf16_simd::MakePairs(last, _mm512_setzero_ps()));
      total = _mm512_add_ps(total, last);
    }
    total = _mm512_add_ps(total, total_odd);
    const __m512 earlier = Exp2(_mm512_mul_ps(_mm512_sub_ps(before, shift), by));
    _mm512_storeu_ps(factor + v * kLanes, earlier);
    _mm512_storeu_ps(sum + v * kLanes,
                     _mm512_fmadd_ps(_mm512_loadu_ps(sum + v * kLanes), earlier, total));
    _mm512_storeu_ps(max + v * kLanes, high);
    changed |= _mm512_cmp_ps_mask(before, high, _CMP_NEQ_UQ);
  }
  return changed != 0;
}

// out[c] += the weighted sums of the block's values, for the columns of one panel.
HWY_INLINE void PairMix(const Pair* weights, const Pair* values, std::size_t rows, Range range,
                        std::size_t cols, float* out, std::size_t width) {
  const std::size_t first = range.begin / 2, pairs = pairs_of(range.end) - first;
  for (std::size_t c = 0; c < cols; c += kMixCols) {
    const Pair* b = values + c * pairs_of(rows) + first * kMixCols;
    for (std::size_t g = 0; g < kPanel; g += kMixRows) {
      float* to = out + g * width + c;
      bf16_simd::TileProduct<kMixRows, 2, false>(
          pairs, weights + first * kPanel + g, kPanel, b, kMixCols,
          [&](const auto& acc) HALO_BF16_ATTR {
            HALO_UNROLL
            for (std::size_t i = 0; i < kMixRows; ++i) {
              HALO_UNROLL
              for (std::size_t v = 0; v < 2; ++v) {
                float* at = to + i * width + v * kLanes;
                _mm512_storeu_ps(at, _mm512_add_ps(_mm512_loadu_ps(at), acc[i][v]));
              }
            }
          });
    }
  }
}

template <class T>
HWY_INLINE void PairForward(const Forward<T>& f, std::size_t begin, std::size_t end,
                            float* workspace) {
  static_assert(flash::kLanes == kLanes && kMixCols == 2 * kLanes);
  const std::size_t dv = f.v.cols, width = padded(dv), pairs = pairs_of(f.q.cols);
  flash_detail::Pieces pieces(workspace);
  const auto take = [&](std::size_t count)
                        HALO_BF16_ATTR { return reinterpret_cast<Pair*>(pieces.take(count)); };
  Room room{};
  room.mixed = pieces.take(f.columns * width);
  room.tile = pieces.take(f.rows * kPanel);
  room.max = pieces.take(f.columns);
  room.sum = pieces.take(f.columns);
  room.factor = pieces.take(f.columns);
  room.columns = take(f.columns * padded(pairs));
  room.keys = take(f.rows * padded(pairs));
  room.values = take(f.rows / 2 * width);
  room.weights = take(f.rows / 2 * kPanel);
  const std::size_t used = (end - begin + kPanel - 1) / kPanel * kPanel;
  PackColumns(f.q, begin, end, f.scale < 0.0F ? -1.0F : 1.0F, room.columns);
  const float scale = std::fabs(f.scale);
  std::memset(room.mixed, 0, used * width * sizeof(float));
  for (std::size_t c = 0; c < used; ++c) {
    room.max[c] = kNone;
    room.sum[c] = 0.0F;
  }

  flash::ForEachTile(
      begin, end, f.k.count, f.window, f.rows,
      [&](std::size_t row0, std::size_t count) HALO_BF16_ATTR { LoadRows(f, row0, count, room); },
      [&](std::size_t row0, std::size_t count, std::size_t c, Range range) HALO_BF16_ATTR {
        const bool windowed = f.window != flash_detail::kNoWindow;
        HWY_ALIGN float largest[kPanel];
        for (float& x : largest) x = kNone;
        PairScores(room.keys, room.columns + c * pairs, pairs, range, room.tile,
                   windowed ? nullptr : largest);
        if (windowed) flash::MaskBand(row0, begin + c, f.window, range, room.tile);
        const std::size_t looked_at = windowed ? range.begin : flash::AfterWholeTiles(range);
        if (PairWeights(room.tile, range, largest, looked_at, scale, room.weights, room.max + c,
                        room.sum + c, room.factor + c)) {
          for (std::size_t i = c; i < c + kPanel; ++i) {
            flash::ScaleRow(room.mixed + i * width, dv, room.factor[i]);
          }
        }
        PairMix(room.weights, room.values, count, range, dv, room.mixed + c * width, width);
      });
  for (std::size_t i = 0; i < end - begin; ++i) {
    const bool none = room.sum[i] == 0.0F;
    flash::ScaleRow(room.mixed + i * width, dv, none ? 0.0F : 1.0F / room.sum[i]);
    std::memcpy(f.out + (begin + i) * f.out_stride, room.mixed + i * width, dv * sizeof(float));
    if (f.lse != nullptr) {
      f.lse[begin + i] = none ? kNone : scale * room.max[i] + std::log(room.sum[i]);
    }
  }
}

}  // namespace

void FlashPairsFloat(const Forward<float>& f, std::size_t begin, std::size_t end,
                     float* workspace) {
  PairForward(f, begin, end, workspace);
}
void FlashPairsHalf(const Forward<Bf16>& f, std::size_t begin, std::size_t end, float* workspace) {
  PairForward(f, begin, end, workspace);
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_AVX3

#if HWY_ONCE
namespace halo::kernels::bf16 {

void flash_forward(const flash_detail::Forward<float>& f, std::size_t begin, std::size_t end,
                   float* workspace) {
  HALO_BF16_CALL(FlashPairsFloat)(f, begin, end, workspace);
}
void flash_forward(const flash_detail::Forward<Bf16>& f, std::size_t begin, std::size_t end,
                   float* workspace) {
  HALO_BF16_CALL(FlashPairsHalf)(f, begin, end, workspace);
}

}  // namespace halo::kernels::bf16
#endif  // HWY_ONCE
