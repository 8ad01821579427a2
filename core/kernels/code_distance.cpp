#define HWY_WANT_AVX3_DL  // VNNI
#include "halo/core/kernels/code_distance.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/code_distance.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include "halo/core/kernels/simd-inl.h"

HWY_BEFORE_NAMESPACE();
#if HWY_TARGET == HWY_AVX3_DL
// Highway asks the CPU for VNNI but does not name it to the compiler.
HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni")
#endif
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kLine = 64;

// Four independent sums of step over the row: what hides the latency of the additions.
template <class D, class Step>
HWY_INLINE hn::Vec<D> accumulate(D tag, std::size_t width, std::size_t lanes, const Step& step) {
  auto acc0 = hn::Zero(tag), acc1 = hn::Zero(tag), acc2 = hn::Zero(tag), acc3 = hn::Zero(tag);
  std::size_t i = 0;
  for (; i + 4 * lanes <= width; i += 4 * lanes) {
    acc0 = step(i, acc0);
    acc1 = step(i + lanes, acc1);
    acc2 = step(i + 2 * lanes, acc2);
    acc3 = step(i + 3 * lanes, acc3);
  }
  for (; i < width; i += lanes) acc0 = step(i, acc0);
  return hn::Add(hn::Add(acc0, acc1), hn::Add(acc2, acc3));
}

template <class D, class T>
HWY_INLINE hn::Vec<D> load_values(D tag, const T* HWY_RESTRICT x) {
  if constexpr (std::is_same_v<T, F16>) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): the same bits by Highway's name
    const auto* halves = reinterpret_cast<const hwy::float16_t*>(x);
    return hn::PromoteTo(tag, hn::LoadU(hn::Rebind<hwy::float16_t, D>(), halves));
  } else if constexpr (std::is_same_v<T, std::int8_t>) {
    const hn::RebindToSigned<D> integers;
    return hn::ConvertTo(tag, hn::PromoteTo(integers, hn::LoadU(hn::Rebind<std::int8_t, D>(), x)));
  } else {
    return simd::load(tag, x);
  }
}

template <bool kL2, class T, class Q = float>
struct FloatRow {
  using Query = Q;
  static HWY_INLINE float sum(const T* HWY_RESTRICT row, const Q* HWY_RESTRICT query,
                              std::size_t width) {
    const hn::ScalableTag<float> tag;
    const auto step = [&](std::size_t i, auto acc) HWY_ATTR {
      const auto x = load_values(tag, row + i);
      const auto q = load_values(tag, query + i);
      if constexpr (kL2) {
        const auto diff = hn::Sub(q, x);
        return hn::MulAdd(diff, diff, acc);
      } else {
        return hn::MulAdd(q, x, acc);
      }
    };
    return hn::GetLane(hn::SumOfLanes(tag, accumulate(tag, width, hn::Lanes(tag), step)));
  }
};

// acc + the products of neighbouring pairs.
template <class V16, class V32>
HWY_INLINE V32 add_products(V16 a, V16 b, V32 acc) {
#if HWY_TARGET == HWY_AVX3_DL
  return V32{_mm512_dpwssd_epi32(acc.raw, a.raw, b.raw)};
#else
  const hn::DFromV<V32> tag;
  auto odd = hn::Zero(tag);  // stays zero where the CPU adds pairs itself
  acc = hn::ReorderWidenMulAccumulate(tag, a, b, acc, odd);
  return hn::RearrangeToOddPlusEven(acc, odd);
#endif
}

HWY_INLINE auto widen(hn::ScalableTag<std::int16_t> tag, const std::int8_t* HWY_RESTRICT row) {
  return hn::PromoteTo(tag, hn::LoadU(hn::Rebind<std::int8_t, decltype(tag)>(), row));
}

HWY_INLINE auto widen(hn::ScalableTag<std::int16_t> tag, const std::int16_t* HWY_RESTRICT row) {
  return hn::LoadU(tag, row);
}

// The sum of the lanes, which wraps: not by the 512-bit reduction of GCC's header, which adds ints.
template <class V>
HWY_INLINE std::uint32_t wrapping_sum(V lanes) {
  const hn::RebindToUnsigned<hn::DFromV<V>> tag;
  const auto bits = hn::BitCast(tag, lanes);
#if HWY_MAX_BYTES == 64
  const hn::Half<decltype(tag)> half;
  return hn::GetLane(
      hn::SumOfLanes(half, hn::Add(hn::LowerHalf(half, bits), hn::UpperHalf(half, bits))));
#else
  return hn::GetLane(hn::SumOfLanes(tag, bits));
#endif
}

template <bool kL2, class Q>
struct Int8Row {
  using Query = Q;
  static HWY_INLINE float sum(const std::int8_t* HWY_RESTRICT row, const Q* HWY_RESTRICT query,
                              std::size_t width) {
    const hn::ScalableTag<std::int16_t> tag16;
    const hn::RepartitionToWide<decltype(tag16)> tag32;
    const auto step = [&](std::size_t i, auto acc) HWY_ATTR {
      const auto x = widen(tag16, row + i);
      const auto q = widen(tag16, query + i);
      if constexpr (kL2) {
        const auto diff = hn::Sub(q, x);
        return add_products(diff, diff, acc);
      } else {
        return add_products(q, x, acc);
      }
    };
    // The sum of 32 bits wraps: unsigned for l2, signed for dot.
    const std::uint32_t sum = wrapping_sum(accumulate(tag32, width, hn::Lanes(tag16), step));
    return kL2 ? static_cast<float>(sum) : static_cast<float>(static_cast<std::int32_t>(sum));
  }
};

HWY_INLINE void prefetch(const std::byte* row, std::size_t lines) {
  for (std::size_t l = 0; l < lines; ++l) hwy::Prefetch(row + l * kLine);
}

template <class Row, class T>
HWY_INLINE void rows_kernel(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                            std::size_t count, float factor, float bias, float* out) {
  const auto* values = static_cast<const typename Row::Query*>(query);
  const auto at = [&](std::size_t i) { return codes.base + std::size_t{rows[i]} * codes.stride; };
  const std::size_t ahead = codes.prefetch_ahead, lines = codes.prefetch_lines;
  for (std::size_t i = 0; i < std::min(ahead, count); ++i) prefetch(at(i), lines);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + ahead < count) prefetch(at(i + ahead), lines);
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
    out[i] = bias + factor * Row::sum(reinterpret_cast<const T*>(at(i)), values, codes.width);
  }
}

void L2RowsF32(const CodeRows& codes, const void* query, const std::uint32_t* rows,
               std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<true, float>, float>(codes, query, rows, count, factor, bias, out);
}
void DotRowsF32(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<false, float>, float>(codes, query, rows, count, factor, bias, out);
}
void L2RowsBf16(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<true, Bf16>, Bf16>(codes, query, rows, count, factor, bias, out);
}
void DotRowsBf16(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                 std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<false, Bf16>, Bf16>(codes, query, rows, count, factor, bias, out);
}
void L2RowsF16(const CodeRows& codes, const void* query, const std::uint32_t* rows,
               std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<true, F16>, F16>(codes, query, rows, count, factor, bias, out);
}
void DotRowsF16(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<false, F16>, F16>(codes, query, rows, count, factor, bias, out);
}
void L2RowsInt8Float(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                     std::size_t count, float factor, float bias, float* out) {
  rows_kernel<FloatRow<true, std::int8_t>, std::int8_t>(codes, query, rows, count, factor, bias,
                                                        out);
}
void L2RowsInt8(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                std::size_t count, float factor, float bias, float* out) {
  rows_kernel<Int8Row<true, std::int16_t>, std::int8_t>(codes, query, rows, count, factor, bias,
                                                        out);
}
void DotRowsInt8(const CodeRows& codes, const void* query, const std::uint32_t* rows,
                 std::size_t count, float factor, float bias, float* out) {
  rows_kernel<Int8Row<false, std::int16_t>, std::int8_t>(codes, query, rows, count, factor, bias,
                                                         out);
}

template <class Row, class T>
HWY_INLINE float pair_kernel(const std::byte* a, const std::byte* b, std::size_t width) {
  // NOLINTBEGIN(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
  return Row::sum(reinterpret_cast<const T*>(a), reinterpret_cast<const T*>(b), width);
  // NOLINTEND(cppcoreguidelines-pro-type-reinterpret-cast)
}

float L2PairF32(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<true, float>, float>(a, b, width);
}
float DotPairF32(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<false, float>, float>(a, b, width);
}
float L2PairBf16(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<true, Bf16, Bf16>, Bf16>(a, b, width);
}
float DotPairBf16(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<false, Bf16, Bf16>, Bf16>(a, b, width);
}
float L2PairF16(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<true, F16, F16>, F16>(a, b, width);
}
float DotPairF16(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<FloatRow<false, F16, F16>, F16>(a, b, width);
}
float L2PairInt8(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<Int8Row<true, std::int8_t>, std::int8_t>(a, b, width);
}
float DotPairInt8(const std::byte* a, const std::byte* b, std::size_t width) {
  return pair_kernel<Int8Row<false, std::int8_t>, std::int8_t>(a, b, width);
}

template <class T>
HWY_INLINE void quantise(const float* HWY_RESTRICT source, const float* HWY_RESTRICT offset,
                         float inverse, float low, float high, std::size_t d, T* HWY_RESTRICT out) {
  const hn::ScalableTag<float> tag;
  const hn::Rebind<T, decltype(tag)> narrow;
  const std::size_t lanes = hn::Lanes(tag);
  std::size_t i = 0;
  // Clamped before the conversion, which is undefined out of its range.
  for (; i + lanes <= d; i += lanes) {
    const auto x = hn::Mul(hn::Sub(hn::LoadU(tag, source + i), hn::LoadU(tag, offset + i)),
                           hn::Set(tag, inverse));
    const auto clamped = hn::Clamp(x, hn::Set(tag, low), hn::Set(tag, high));
    hn::StoreU(hn::DemoteTo(narrow, hn::NearestInt(clamped)), narrow, out + i);
  }
  for (; i < d; ++i) {
    const float x = std::clamp((source[i] - offset[i]) * inverse, low, high);
    out[i] = static_cast<T>(std::lrintf(x));
  }
}

void QuantiseInt8(const float* source, const float* offset, float inverse, std::size_t d,
                  std::int8_t* out) {
  quantise(source, offset, inverse, -128.0F, 127.0F, d, out);
}
void QuantiseInt16(const float* source, const float* offset, float inverse, std::int16_t limit,
                   std::size_t d, std::int16_t* out) {
  quantise(source, offset, inverse, -static_cast<float>(limit), static_cast<float>(limit), d, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
#if HWY_TARGET == HWY_AVX3_DL
HWY_POP_ATTRIBUTES
#endif
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halo::kernels {

HWY_EXPORT(L2RowsF32);
HWY_EXPORT(DotRowsF32);
HWY_EXPORT(L2RowsBf16);
HWY_EXPORT(DotRowsBf16);
HWY_EXPORT(L2RowsF16);
HWY_EXPORT(DotRowsF16);
HWY_EXPORT(L2RowsInt8Float);
HWY_EXPORT(L2RowsInt8);
HWY_EXPORT(DotRowsInt8);
HWY_EXPORT(L2PairF32);
HWY_EXPORT(DotPairF32);
HWY_EXPORT(L2PairBf16);
HWY_EXPORT(DotPairBf16);
HWY_EXPORT(L2PairF16);
HWY_EXPORT(DotPairF16);
HWY_EXPORT(L2PairInt8);
HWY_EXPORT(DotPairInt8);
HWY_EXPORT(QuantiseInt8);
HWY_EXPORT(QuantiseInt16);

namespace {
std::size_t target_index() {
  auto& chosen = hwy::GetChosenTarget();
  if (!chosen.IsInitialized()) chosen.Update(hwy::SupportedTargets());
  return chosen.GetIndex();
}
}  // namespace

RowsFn l2_rows_f32() { return HWY_DISPATCH_TABLE(L2RowsF32)[target_index()]; }
RowsFn dot_rows_f32() { return HWY_DISPATCH_TABLE(DotRowsF32)[target_index()]; }
RowsFn l2_rows_bf16() { return HWY_DISPATCH_TABLE(L2RowsBf16)[target_index()]; }
RowsFn dot_rows_bf16() { return HWY_DISPATCH_TABLE(DotRowsBf16)[target_index()]; }
RowsFn l2_rows_f16() { return HWY_DISPATCH_TABLE(L2RowsF16)[target_index()]; }
RowsFn dot_rows_f16() { return HWY_DISPATCH_TABLE(DotRowsF16)[target_index()]; }
RowsFn l2_rows_int8_float() { return HWY_DISPATCH_TABLE(L2RowsInt8Float)[target_index()]; }
RowsFn l2_rows_int8() { return HWY_DISPATCH_TABLE(L2RowsInt8)[target_index()]; }
RowsFn dot_rows_int8() { return HWY_DISPATCH_TABLE(DotRowsInt8)[target_index()]; }
CodePairFn l2_pair_f32() { return HWY_DISPATCH_TABLE(L2PairF32)[target_index()]; }
CodePairFn dot_pair_f32() { return HWY_DISPATCH_TABLE(DotPairF32)[target_index()]; }
CodePairFn l2_pair_bf16() { return HWY_DISPATCH_TABLE(L2PairBf16)[target_index()]; }
CodePairFn dot_pair_bf16() { return HWY_DISPATCH_TABLE(DotPairBf16)[target_index()]; }
CodePairFn l2_pair_f16() { return HWY_DISPATCH_TABLE(L2PairF16)[target_index()]; }
CodePairFn dot_pair_f16() { return HWY_DISPATCH_TABLE(DotPairF16)[target_index()]; }
CodePairFn l2_pair_int8() { return HWY_DISPATCH_TABLE(L2PairInt8)[target_index()]; }
CodePairFn dot_pair_int8() { return HWY_DISPATCH_TABLE(DotPairInt8)[target_index()]; }

std::int16_t l2_query_limit(std::size_t width) {
  // width (128 + limit)^2 < 2^32
  const double limit =
      std::sqrt(4294967295.0 / static_cast<double>(std::max<std::size_t>(width, 1)));
  return static_cast<std::int16_t>(std::clamp(std::floor(limit) - 128, 127.0, 16000.0));
}

std::int16_t dot_query_limit(std::size_t width) {
  // 128 width limit < 2^31
  const double limit = 16777215.0 / static_cast<double>(std::max<std::size_t>(width, 1));
  return static_cast<std::int16_t>(std::clamp(std::floor(limit), 127.0, 32767.0));
}

void quantise_int8(const float* source, const float* offset, float inverse, std::size_t d,
                   std::int8_t* out) {
  HWY_DYNAMIC_DISPATCH(QuantiseInt8)(source, offset, inverse, d, out);
}

void quantise_int16(const float* source, const float* offset, float inverse, std::int16_t limit,
                    std::size_t d, std::int16_t* out) {
  HWY_DYNAMIC_DISPATCH(QuantiseInt16)(source, offset, inverse, limit, d, out);
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
