// What the kernels share, compiled once for each instruction set: a vectorised exp, horizontal
// sums and the register-blocked product of two tiles. Included by a kernel's .cpp after
// <hwy/foreach_target.h>; never by anything else.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/highway.h>

#include <cstddef>

#include "halo/core/half_matrix.h"

#if defined(HALO_CORE_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_SIMD_INL_H_
#undef HALO_CORE_KERNELS_SIMD_INL_H_
#else
#define HALO_CORE_KERNELS_SIMD_INL_H_
#endif

// Arrays of vectors only stay in registers once the loops over them are gone.
#undef HALO_UNROLL
#if HWY_COMPILER_GCC_ACTUAL
#define HALO_UNROLL _Pragma("GCC unroll 32")
#else
#define HALO_UNROLL _Pragma("clang loop unroll(full)")
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace simd {
namespace hn = hwy::HWY_NAMESPACE;

// e^x for x <= 88. Relative error below 2e-7; results under the smallest normal float are 0, so
// is e^-inf; NaN stays NaN. Cody-Waite reduction and the polynomial of Cephes' expf (Moshier).
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp(D tag, V x) {
  const hn::RebindToUnsigned<D> bits;
  // Adding 1.5 * 2^23 rounds to an integer, kept in the low bits of the sum.
  const V magic = hn::Set(tag, 12582912.0F);
  const V shifted = hn::MulAdd(x, hn::Set(tag, 1.44269504F), magic);
  const V n = hn::Sub(shifted, magic);
  V r = hn::NegMulAdd(n, hn::Set(tag, 0.693359375F), x);
  r = hn::NegMulAdd(n, hn::Set(tag, -2.12194440e-4F), r);
  V p = hn::MulAdd(hn::Set(tag, 1.9875691500e-4F), r, hn::Set(tag, 1.3981999507e-3F));
  p = hn::MulAdd(p, r, hn::Set(tag, 8.3334519073e-3F));
  p = hn::MulAdd(p, r, hn::Set(tag, 4.1665795894e-2F));
  p = hn::MulAdd(p, r, hn::Set(tag, 1.6666665459e-1F));
  p = hn::MulAdd(p, r, hn::Set(tag, 5.0000001201e-1F));
  p = hn::Add(hn::MulAdd(hn::Mul(r, r), p, r), hn::Set(tag, 1.0F));
  // p is in [0.7, 1.5): n goes straight into its exponent.
  const auto scaled = hn::Add(hn::BitCast(bits, p), hn::ShiftLeft<23>(hn::BitCast(bits, shifted)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(tag, -87.3365F)), hn::BitCast(tag, scaled));
}

// 2^r on [-1/2, 1/2]: a minimax polynomial.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2_of_fraction(D tag, V r) {
  V p = hn::MulAdd(hn::Set(tag, 1.32764713e-3F), r, hn::Set(tag, 9.67554096e-3F));
  p = hn::MulAdd(p, r, hn::Set(tag, 5.55071309e-2F));
  p = hn::MulAdd(p, r, hn::Set(tag, 2.40221202e-1F));
  p = hn::MulAdd(p, r, hn::Set(tag, 6.93146944e-1F));
  return hn::MulAdd(p, r, hn::Set(tag, 1.00000012F));
}

// 2^x for x < 128. Relative error below 2e-7; results under the smallest normal float are 0, so is
// 2^-inf; NaN stays NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V exp2(D tag, V x) {
#if HWY_TARGET <= HWY_AVX3
  if constexpr (hn::MaxLanes(D()) == 16) {  // one instruction each for what is bit tricks elsewhere
    const V n = hn::Round(x);
    const V p = exp2_of_fraction(tag, hn::Sub(x, n));
    const __mmask16 normal = _mm512_cmp_ps_mask(x.raw, _mm512_set1_ps(-126.0F), _CMP_NLT_UQ);
    return V{_mm512_maskz_scalef_ps(normal, p.raw, n.raw)};
  }
#endif
  const hn::RebindToUnsigned<D> bits;
  const V magic = hn::Set(tag, 12582912.0F);
  const V shifted = hn::Add(x, magic);
  const V p = exp2_of_fraction(tag, hn::Sub(x, hn::Sub(shifted, magic)));
  const auto scaled = hn::Add(hn::BitCast(bits, p), hn::ShiftLeft<23>(hn::BitCast(bits, shifted)));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(tag, -126.0F)), hn::BitCast(tag, scaled));
}

// Lanes(tag) floats at x, which may be stored as bfloat16: the upper half of a float32.
template <class D>
HWY_INLINE hn::Vec<D> load(D tag, const float* x) {
  return hn::LoadU(tag, x);
}
template <class D>
HWY_INLINE hn::Vec<D> load(D tag, const Bf16* x) {
  const hn::RebindToUnsigned<D> bits;
  const hn::Rebind<std::uint16_t, D> half;
  return hn::BitCast(tag, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(half, x))));
}
HWY_INLINE float load_one(const float* x) { return *x; }
HWY_INLINE float load_one(const Bf16* x) { return bf16_to_float(*x); }

// The tile product: kRows x (kVecs vectors) sums over `depth`, held in registers, handed to
// finish(acc). a(r, p) is a[r * lda + p] where kRowMajor, else a[p * lda + r]; row p of b starts at
// b + p * ldb. Every sum runs over p in order, whatever the shape of the tile.
template <std::size_t kRows, std::size_t kVecs, bool kRowMajor, class D, class Finish>
HWY_INLINE void tile_product(D tag, std::size_t depth, const float* HWY_RESTRICT a, std::size_t lda,
                             const float* HWY_RESTRICT b, std::size_t ldb, const Finish& finish) {
  using V = hn::Vec<D>;
  const std::size_t lanes = hn::Lanes(tag);
  V acc[kRows][kVecs];
  HALO_UNROLL
  for (std::size_t r = 0; r < kRows; ++r) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) acc[r][v] = hn::Zero(tag);
  }
  for (std::size_t p = 0; p < depth; ++p) {
    V row[kVecs];
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) row[v] = hn::LoadU(tag, b + v * lanes);
    HALO_UNROLL
    for (std::size_t r = 0; r < kRows; ++r) {
      const V x = hn::Set(tag, kRowMajor ? a[r * lda] : a[r]);
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) acc[r][v] = hn::MulAdd(x, row[v], acc[r][v]);
    }
    a += kRowMajor ? 1 : lda;
    b += ldb;
  }
  finish(acc);
}

}  // namespace simd
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_SIMD_INL_H_
