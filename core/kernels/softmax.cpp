#include "halo/core/kernels/softmax.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/softmax.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "halo/core/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

float RowMax(const float* x, std::size_t d) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  float largest = -std::numeric_limits<float>::infinity();
  std::size_t i = 0;
  if (d >= lanes) {
    auto m = hn::LoadU(tag, x);
    for (i = lanes; i + lanes <= d; i += lanes) m = hn::Max(m, hn::LoadU(tag, x + i));
    largest = hn::GetLane(hn::MaxOfLanes(tag, m));
  }
  for (; i < d; ++i) largest = std::max(largest, x[i]);
  return largest;
}

float Exponentials(float* x, std::size_t d, float shift) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto by = hn::Set(tag, shift);
  auto sum0 = hn::Zero(tag), sum1 = hn::Zero(tag);
  std::size_t i = 0;
  for (; i + 2 * lanes <= d; i += 2 * lanes) {
    const auto e0 = simd::exp(tag, hn::Sub(hn::LoadU(tag, x + i), by));
    const auto e1 = simd::exp(tag, hn::Sub(hn::LoadU(tag, x + i + lanes), by));
    hn::StoreU(e0, tag, x + i);
    hn::StoreU(e1, tag, x + i + lanes);
    sum0 = hn::Add(sum0, e0);
    sum1 = hn::Add(sum1, e1);
  }
  for (; i + lanes <= d; i += lanes) {
    const auto e = simd::exp(tag, hn::Sub(hn::LoadU(tag, x + i), by));
    hn::StoreU(e, tag, x + i);
    sum0 = hn::Add(sum0, e);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, hn::Add(sum0, sum1)));
  const hn::CappedTag<float, 1> one;
  for (; i < d; ++i) {
    x[i] = hn::GetLane(simd::exp(one, hn::Set(one, x[i] - shift)));
    sum += x[i];
  }
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/vector_ops.h"

namespace halo::kernels {

HWY_EXPORT(RowMax);
HWY_EXPORT(Exponentials);

namespace {
constexpr float kNone = -std::numeric_limits<float>::infinity();
}  // namespace

float row_max(const float* x, std::size_t d) { return HWY_DYNAMIC_DISPATCH(RowMax)(x, d); }

float exponentials(float* x, std::size_t d, float shift) {
  // Shifting -inf by -inf would be NaN; by 0 it stays -inf.
  return HWY_DYNAMIC_DISPATCH(Exponentials)(x, d, shift == kNone ? 0.0F : shift);
}

float softmax_lse(float* x, std::size_t d) {
  const float largest = row_max(x, d);
  const float sum = exponentials(x, d, largest);
  if (sum == 0.0F) return kNone;
  scale(1.0F / sum, x, d);
  return largest + std::log(sum);
}

void softmax(float* x, std::size_t d) { softmax_lse(x, d); }

float OnlineSoftmax::absorb(float* x, std::size_t d) {
  const float before = max;
  max = std::max(before, row_max(x, d));
  const float added = exponentials(x, d, max);
  const float factor = before == kNone ? 0.0F : std::exp(before - max);
  sum = sum * factor + added;
  return factor;
}

float OnlineSoftmax::lse() const { return sum == 0.0F ? kNone : max + std::log(sum); }

}  // namespace halo::kernels
#endif  // HWY_ONCE
