#include "halo/core/kernels/vector_ops.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/vector_ops.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void Axpy(float alpha, const float* HWY_RESTRICT x, float* HWY_RESTRICT y, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto a = hn::Set(tag, alpha);
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) {
    hn::StoreU(hn::MulAdd(a, hn::LoadU(tag, x + i), hn::LoadU(tag, y + i)), tag, y + i);
  }
  for (; i < d; ++i) y[i] += alpha * x[i];
}

// `lanes` bfloat16 values as float32: their bits are the upper half of the float's.
template <class D>
HWY_INLINE hn::Vec<D> LoadBf16(D tag, const Bf16* x) {
  const hn::RebindToUnsigned<D> bits;
  const hn::Rebind<std::uint16_t, D> half;
  return hn::BitCast(tag, hn::ShiftLeft<16>(hn::PromoteTo(bits, hn::LoadU(half, x))));
}

void AxpyBf16(float alpha, const Bf16* HWY_RESTRICT x, float* HWY_RESTRICT y, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto a = hn::Set(tag, alpha);
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) {
    hn::StoreU(hn::MulAdd(a, LoadBf16(tag, x + i), hn::LoadU(tag, y + i)), tag, y + i);
  }
  for (; i < d; ++i) y[i] += alpha * bf16_to_float(x[i]);
}

float DotBf16(const float* HWY_RESTRICT x, const Bf16* HWY_RESTRICT y, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  auto acc0 = hn::Zero(tag), acc1 = hn::Zero(tag);
  std::size_t i = 0;
  for (; i + 2 * lanes <= d; i += 2 * lanes) {
    acc0 = hn::MulAdd(hn::LoadU(tag, x + i), LoadBf16(tag, y + i), acc0);
    acc1 = hn::MulAdd(hn::LoadU(tag, x + i + lanes), LoadBf16(tag, y + i + lanes), acc1);
  }
  for (; i + lanes <= d; i += lanes) {
    acc0 = hn::MulAdd(hn::LoadU(tag, x + i), LoadBf16(tag, y + i), acc0);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, hn::Add(acc0, acc1)));
  for (; i < d; ++i) sum += x[i] * bf16_to_float(y[i]);
  return sum;
}

void Narrow(const float* HWY_RESTRICT x, std::size_t d, Bf16* HWY_RESTRICT out) {
  const hn::ScalableTag<float> tag;
  const hn::RebindToUnsigned<decltype(tag)> bits;
  const hn::Rebind<std::uint16_t, decltype(tag)> half;
  const std::size_t lanes = hn::Lanes(tag);
  const auto below_half = hn::Set(bits, 0x7fffU), one = hn::Set(bits, 1U);
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) {
    const auto value = hn::BitCast(bits, hn::LoadU(tag, x + i));
    const auto odd = hn::And(hn::ShiftRight<16>(value), one);
    const auto rounded = hn::ShiftRight<16>(hn::Add(value, hn::Add(below_half, odd)));
    hn::StoreU(hn::DemoteTo(half, hn::BitCast(hn::RebindToSigned<decltype(bits)>(), rounded)), half,
               out + i);
  }
  for (; i < d; ++i) out[i] = float_to_bf16(x[i]);
}

void Scale(float alpha, float* x, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto a = hn::Set(tag, alpha);
  std::size_t i = 0;
  for (; i + lanes <= d; i += lanes) hn::StoreU(hn::Mul(a, hn::LoadU(tag, x + i)), tag, x + i);
  for (; i < d; ++i) x[i] *= alpha;
}

bool AllFinite(const float* x, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  std::size_t i = 0;
  // x - x is 0 for a finite x and NaN otherwise; NaN is sticky under addition.
  auto acc = hn::Zero(tag);
  for (; i + lanes <= d; i += lanes) {
    const auto v = hn::LoadU(tag, x + i);
    acc = hn::Add(acc, hn::Sub(v, v));
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, acc));
  for (; i < d; ++i) sum += x[i] - x[i];
  return sum == 0.0F;
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/distance.h"

namespace halo::kernels {

HWY_EXPORT(Axpy);
HWY_EXPORT(AxpyBf16);
HWY_EXPORT(DotBf16);
HWY_EXPORT(Narrow);
HWY_EXPORT(Scale);
HWY_EXPORT(AllFinite);

void axpy(float alpha, const float* x, float* y, std::size_t d) {
  HWY_DYNAMIC_DISPATCH(Axpy)(alpha, x, y, d);
}

void axpy(float alpha, const Bf16* x, float* y, std::size_t d) {
  HWY_DYNAMIC_DISPATCH(AxpyBf16)(alpha, x, y, d);
}

float dot(const float* x, const Bf16* y, std::size_t d) {
  return HWY_DYNAMIC_DISPATCH(DotBf16)(x, y, d);
}

void narrow(const float* x, std::size_t d, Bf16* out) { HWY_DYNAMIC_DISPATCH(Narrow)(x, d, out); }

void scale(float alpha, float* x, std::size_t d) { HWY_DYNAMIC_DISPATCH(Scale)(alpha, x, d); }

bool all_finite(const float* x, std::size_t d) { return HWY_DYNAMIC_DISPATCH(AllFinite)(x, d); }

float normalise(float* x, std::size_t d) {
  // Scaling by the largest magnitude first keeps the sum of squares from over- or underflowing.
  float largest = 0.0F;
  for (std::size_t i = 0; i < d; ++i) largest = std::max(largest, std::fabs(x[i]));
  if (!(largest >= std::numeric_limits<float>::min())) return 0.0F;
  if (largest > 1e15F || largest < 1e-15F) {
    scale(1.0F / largest, x, d);
    const float rest = std::sqrt(dot(x, x, d));
    scale(1.0F / rest, x, d);
    return std::min(rest * largest, std::numeric_limits<float>::max());
  }
  const float norm = std::sqrt(dot(x, x, d));
  scale(1.0F / norm, x, d);
  return norm;
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
