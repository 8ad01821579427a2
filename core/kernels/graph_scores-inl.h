// The scores of a row's edges for all heads at once, and their exponentials. Passes over edges are
// not inlined: a sanitised build of them all takes minutes. Compiled once for each instruction set;
// included by a kernel's .cpp after <hwy/foreach_target.h>.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>

#include "halo/core/kernels/graph_attention.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/simd-inl.h"

#if defined(HALO_CORE_KERNELS_GRAPH_SCORES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_GRAPH_SCORES_INL_H_
#undef HALO_CORE_KERNELS_GRAPH_SCORES_INL_H_
#else
#define HALO_CORE_KERNELS_GRAPH_SCORES_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace graph {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET != HWY_SCALAR
// out = v's lower four lanes plus every further four.
template <class D>
HWY_INLINE void StoreFolded4(D tag, hn::Vec<D> v, float* out) {
  if constexpr (hn::MaxLanes(tag) == 4) {
    hn::StoreU(v, tag, out);
  } else {
    const hn::Half<D> half;
    StoreFolded4(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), out);
  }
}
#endif

// out[i] = the sum of the lanes of the i-th vector.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void StoreSums4(D tag, V a, V b, V c, V d, float* out) {
#if HWY_TARGET == HWY_SCALAR
  hn::StoreU(a, tag, out);
  hn::StoreU(b, tag, out + 1);
  hn::StoreU(c, tag, out + 2);
  hn::StoreU(d, tag, out + 3);
#else
  const hn::RepartitionToWide<D> wide;
  const auto ab =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(tag, a, b), hn::InterleaveUpper(tag, a, b)));
  const auto cd =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(tag, c, d), hn::InterleaveUpper(tag, c, d)));
  StoreFolded4(tag,
               hn::Add(hn::BitCast(tag, hn::InterleaveLower(wide, ab, cd)),
                       hn::BitCast(tag, hn::InterleaveUpper(wide, ab, cd))),
               out);
#endif
}

// Dots, with the whole vectors of a head, kSteps, known to the compiler where not 0.
template <std::size_t kSteps, class D, class T, class Next>
HWY_NOINLINE void DotsOf(D tag, const float* HWY_RESTRICT x, const Edges<T>& edges,
                         const Ahead<T, Next>& ahead, std::size_t heads, std::size_t d,
                         float* HWY_RESTRICT out, std::size_t stride) {
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t steps = kSteps == 0 ? d / lanes : kSteps, last = edges.count - 1;
  for (std::size_t e = 0; e < edges.count; e += 4) {
    const T* r0 = edges.row(e);
    const T* r1 = edges.row(std::min(e + 1, last));
    const T* r2 = edges.row(std::min(e + 2, last));
    const T* r3 = edges.row(std::min(e + 3, last));
    for (std::size_t i = e; i <= std::min(e + 3, last); ++i) ahead.fetch(i);
    const float* HWY_RESTRICT y = x;
    float* to = out + e;
    for (std::size_t h = 0; h < heads; ++h, to += stride) {
      auto a0 = hn::Zero(tag), a1 = hn::Zero(tag), a2 = hn::Zero(tag), a3 = hn::Zero(tag);
      HALO_UNROLL
      for (std::size_t s = 0; s < steps; ++s) {
        const auto v = hn::LoadU(tag, y + s * lanes);
        a0 = hn::MulAdd(v, simd::load(tag, r0 + s * lanes), a0);
        a1 = hn::MulAdd(v, simd::load(tag, r1 + s * lanes), a1);
        a2 = hn::MulAdd(v, simd::load(tag, r2 + s * lanes), a2);
        a3 = hn::MulAdd(v, simd::load(tag, r3 + s * lanes), a3);
      }
      StoreSums4(tag, a0, a1, a2, a3, to);
      if constexpr (kSteps == 0) {
        for (std::size_t c = steps * lanes; c < d; ++c) {
          to[0] += y[c] * simd::load_one(r0 + c);
          to[1] += y[c] * simd::load_one(r1 + c);
          to[2] += y[c] * simd::load_one(r2 + c);
          to[3] += y[c] * simd::load_one(r3 + c);
        }
      }
      y += d, r0 += d, r1 += d, r2 += d, r3 += d;
    }
  }
}

// out[h * stride + e] = <x, row of edge e> over head h's d values, four edges at a time, every head
// while their rows are at hand; writes up to a multiple of 4 edges.
template <class D, class T, class Next>
HWY_INLINE void Dots(D tag, const float* x, const Edges<T>& edges, const Ahead<T, Next>& ahead,
                     std::size_t heads, std::size_t d, float* out, std::size_t stride) {
  const std::size_t lanes = hn::Lanes(tag);
  if (d == 4 * lanes) return DotsOf<4>(tag, x, edges, ahead, heads, d, out, stride);
  if (d == 8 * lanes) return DotsOf<8>(tag, x, edges, ahead, heads, d, out, stride);
  DotsOf<0>(tag, x, edges, ahead, heads, d, out, stride);
}

// x <- e^(scale x - max), and their sum, over `count` > 0 values; writes zeros up to a whole vector
// behind them. A sharpness other than 0 stretches the exponents over [-sharpness, 0].
struct Exponentials {
  float max, sum;
};
HWY_NOINLINE inline Exponentials ExponentialsOf(float* x, std::size_t count, float scale,
                                                float sharpness = 0.0F) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t full = count / lanes * lanes, whole = (count + lanes - 1) / lanes * lanes;
  for (std::size_t i = count; i < whole; ++i) x[i] = x[0];
  const auto by = hn::Set(tag, scale);
  auto high = hn::Set(tag, kNone), low = hn::Neg(high);
  for (std::size_t i = 0; i < whole; i += lanes) {
    // Stored, so that the compiler cannot fuse the product with the subtraction below: the largest
    // must give e^0 = 1 exactly.
    const auto scaled = hn::Mul(by, hn::LoadU(tag, x + i));
    hn::StoreU(scaled, tag, x + i);
    high = hn::Max(high, scaled);
    low = hn::Min(low, scaled);
  }
  const auto shift = hn::MaxOfLanes(tag, high);
  auto stretch = hn::Set(tag, 1.0F);
  if (sharpness != 0.0F) {
    const auto spread = hn::Sub(shift, hn::MinOfLanes(tag, low));
    stretch = hn::Div(hn::Set(tag, sharpness), hn::Max(spread, hn::Set(tag, kSmallestSpread)));
  }
  auto total = hn::Zero(tag);
  for (std::size_t i = 0; i < whole; i += lanes) {
    auto e = simd::exp(tag, hn::Mul(stretch, hn::Sub(hn::LoadU(tag, x + i), shift)));
    if (i == full) e = hn::IfThenElseZero(hn::FirstN(tag, count - full), e);
    hn::StoreU(e, tag, x + i);
    total = hn::Add(total, e);
  }
  return {hn::GetLane(shift), hn::GetLane(hn::SumOfLanes(tag, total))};
}

}  // namespace graph
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_GRAPH_SCORES_INL_H_
