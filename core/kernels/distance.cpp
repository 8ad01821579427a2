#include "halo/core/kernels/distance.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/distance.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Sums step(acc, i) over the d floats, four independent accumulators wide; the tail is masked.
template <class Step>
HWY_INLINE float accumulate(const float* HWY_RESTRICT a, const float* HWY_RESTRICT b, std::size_t d,
                            const Step& step) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  auto acc0 = hn::Zero(tag), acc1 = hn::Zero(tag), acc2 = hn::Zero(tag), acc3 = hn::Zero(tag);
  std::size_t i = 0;
  for (; i + 4 * lanes <= d; i += 4 * lanes) {
    acc0 = step(hn::LoadU(tag, a + i), hn::LoadU(tag, b + i), acc0);
    acc1 = step(hn::LoadU(tag, a + i + lanes), hn::LoadU(tag, b + i + lanes), acc1);
    acc2 = step(hn::LoadU(tag, a + i + 2 * lanes), hn::LoadU(tag, b + i + 2 * lanes), acc2);
    acc3 = step(hn::LoadU(tag, a + i + 3 * lanes), hn::LoadU(tag, b + i + 3 * lanes), acc3);
  }
  for (; i + lanes <= d; i += lanes) {
    acc0 = step(hn::LoadU(tag, a + i), hn::LoadU(tag, b + i), acc0);
  }
  float sum = hn::GetLane(hn::SumOfLanes(tag, hn::Add(hn::Add(acc0, acc1), hn::Add(acc2, acc3))));
  const hn::CappedTag<float, 1> one;
  for (; i < d; ++i) {
    sum = hn::GetLane(step(hn::LoadU(one, a + i), hn::LoadU(one, b + i), hn::Set(one, sum)));
  }
  return sum;
}

float L2Squared(const float* a, const float* b, std::size_t d) {
  return accumulate(a, b, d, [](auto x, auto y, auto acc) HWY_ATTR {
    const auto diff = hn::Sub(x, y);
    return hn::MulAdd(diff, diff, acc);
  });
}

float Dot(const float* a, const float* b, std::size_t d) {
  return accumulate(a, b, d,
                    [](auto x, auto y, auto acc) HWY_ATTR { return hn::MulAdd(x, y, acc); });
}

void DotRows(const float* query, const float* base, std::size_t stride, const std::uint32_t* rows,
             std::size_t count, std::size_t d, float* out) {
  constexpr std::size_t kAhead = 4;
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kAhead < count) {
      const float* next = base + std::size_t{rows[i + kAhead]} * stride;
      for (std::size_t f = 0; f < d && f < 64; f += 16) hwy::Prefetch(next + f);
    }
    out[i] = Dot(query, base + std::size_t{rows[i]} * stride, d);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halo::kernels {

HWY_EXPORT(L2Squared);
HWY_EXPORT(Dot);
HWY_EXPORT(DotRows);

namespace {
std::size_t target_index() {
  auto& chosen = hwy::GetChosenTarget();
  if (!chosen.IsInitialized()) chosen.Update(hwy::SupportedTargets());
  return chosen.GetIndex();
}
}  // namespace

PairFn l2_squared_kernel() { return HWY_DISPATCH_TABLE(L2Squared)[target_index()]; }
PairFn dot_kernel() { return HWY_DISPATCH_TABLE(Dot)[target_index()]; }

void dot_rows(const float* query, const float* base, std::size_t stride, const std::uint32_t* rows,
              std::size_t count, std::size_t d, float* out) {
  HWY_DYNAMIC_DISPATCH(DotRows)(query, base, stride, rows, count, d, out);
}

const char* dispatched_isa() {
  const std::uint64_t best = static_cast<std::uint64_t>(hwy::SupportedTargets() & HWY_TARGETS);
  return hwy::TargetName(static_cast<std::int64_t>(best & (~best + 1)));
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
