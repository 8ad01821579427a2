// Register tiles and layouts of bfloat16 pairs (bf16.h), compiled for AVX-512 with AVX512-BF16
// only; included by a kernel's .cpp after <hwy/foreach_target.h>, which compiles it in the pass of
// HWY_AVX3 alone. Functions must be between HALO_BF16_BEFORE_NAMESPACE and HWY_AFTER_NAMESPACE,
// lambdas carry HALO_BF16_ATTR, and nothing of it runs unless bf16::in_hardware().
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/highway.h>

#include <cstddef>

#include "halo/core/kernels/bf16.h"
#include "halo/core/kernels/simd-inl.h"

#if HWY_TARGET == HWY_AVX3 && !defined(HALO_CORE_KERNELS_BF16_INL_H_)
#define HALO_CORE_KERNELS_BF16_INL_H_

#define HALO_BF16_TARGET HWY_TARGET_STR ",avx512bf16"
#define HALO_BF16_ATTR __attribute__((target(HALO_BF16_TARGET)))
#define HALO_BF16_BEFORE_NAMESPACE() HWY_PUSH_ATTRIBUTES(HALO_BF16_TARGET) static_assert(true)

HALO_BF16_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace bf16_simd {

using bf16::Pair;
constexpr std::size_t kLanes = 16;  // floats, or pairs

// acc + the products of both halves of every pair.
HWY_INLINE __m512 MulAddPairs(__m512i a, __m512i b, __m512 acc) {
  return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

// Two vectors of floats as pairs, lane by lane: `first` in the lower halves.
HWY_INLINE __m512i MakePairs(__m512 first, __m512 second) {
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24,
                                         8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  return _mm512_permutexvar_epi16(order, halves);
}

// Floats rounded to bfloat16, as floats.
HWY_INLINE __m512 Rounded(__m512 x) {
  const __m256i half = (__m256i)_mm512_cvtneps_pbh(x);
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
}

HWY_INLINE __mmask16 FirstLanes(std::size_t count) {
  return count >= kLanes ? __mmask16{0xffff} : static_cast<__mmask16>((1U << count) - 1U);
}

// `count` neighbouring floats as pairs_of(count) pairs, times `scale`; an odd one is paired with 0.
HWY_INLINE void RoundRow(const float* HWY_RESTRICT from, std::size_t count, float scale,
                         Pair* HWY_RESTRICT out) {
  const __m512 by = _mm512_set1_ps(scale);
  std::size_t i = 0;
  for (; i + 2 * kLanes <= count; i += 2 * kLanes, out += kLanes) {
    const __m512 low = _mm512_mul_ps(by, _mm512_loadu_ps(from + i));
    const __m512 high = _mm512_mul_ps(by, _mm512_loadu_ps(from + i + kLanes));
    _mm512_storeu_si512(out, (__m512i)_mm512_cvtne2ps_pbh(high, low));
  }
  if (i == count) return;
  const std::size_t left = count - i, above = left > kLanes ? left - kLanes : 0;
  const __m512 low = _mm512_mul_ps(by, _mm512_maskz_loadu_ps(FirstLanes(left), from + i));
  const __m512 high =
      above == 0 ? _mm512_setzero_ps()
                 : _mm512_mul_ps(by, _mm512_maskz_loadu_ps(FirstLanes(above), from + i + kLanes));
  _mm512_mask_storeu_epi32(out, FirstLanes(bf16::pairs_of(left)),
                           (__m512i)_mm512_cvtne2ps_pbh(high, low));
}

// Two rows of `count` floats as a row of pairs across them; `second` may be null: zeros.
HWY_INLINE void PairRows(const float* HWY_RESTRICT first, const float* HWY_RESTRICT second,
                         std::size_t count, Pair* HWY_RESTRICT out) {
  for (std::size_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = FirstLanes(count - i);
    const __m512 low = _mm512_maskz_loadu_ps(lanes, first + i);
    const __m512 high =
        second == nullptr ? _mm512_setzero_ps() : _mm512_maskz_loadu_ps(lanes, second + i);
    _mm512_mask_storeu_epi32(out + i, lanes, MakePairs(low, high));
  }
}

// simd::tile_product over pairs: kRows x (kVecs vectors) sums, held in registers, handed to
// finish(acc). a(r, p) is a[r * lda + p] where kRowMajor, else a[p * lda + r].
template <std::size_t kRows, std::size_t kVecs, bool kRowMajor, class Finish>
HWY_INLINE void TileProduct(std::size_t pairs, const Pair* HWY_RESTRICT a, std::size_t lda,
                            const Pair* HWY_RESTRICT b, std::size_t ldb, const Finish& finish) {
  __m512 acc[kRows][kVecs];
  HALO_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) acc[r][v] = _mm512_setzero_ps();
  }
  for (std::size_t p = 0; p < pairs; ++p) {
    __m512i row[kVecs];
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) row[v] = _mm512_loadu_si512(b + v * kLanes);
    HALO_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const __m512i x = _mm512_set1_epi32(static_cast<int>(kRowMajor ? a[r * lda] : a[r]));
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) acc[r][v] = MulAddPairs(x, row[v], acc[r][v]);
    }
    a += kRowMajor ? 1 : lda;
    b += ldb;
  }
  finish(acc);
}

}  // namespace bf16_simd
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HWY_AVX3, once

// What the HWY_ONCE part of a kernel calls.
#undef HALO_BF16_CALL
#if HWY_TARGETS & HWY_AVX3
#define HALO_BF16_CALL(function) N_AVX3::function
#else
#define HALO_BF16_CALL(function) bf16::not_compiled
#endif
