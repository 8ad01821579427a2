#include "halo/core/kernels/sparse_rows.h"

#include <algorithm>
#include <cmath>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/sparse_rows.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr std::size_t kRowsAhead = 12;
constexpr std::size_t kEntriesALine = 16;

HWY_INLINE void prefetch(const std::uint32_t* row, std::size_t room) {
  for (std::size_t e = 0; e < room; e += kEntriesALine) hwy::Prefetch(row + e);
}

// Adds the products and squares of Lanes(tag) entries.
template <class D, class V>
HWY_INLINE void add_entries(D tag, const std::uint32_t* HWY_RESTRICT entries, int bits,
                            const std::uint8_t* HWY_RESTRICT dense, V& sum, V& squares) {
  const hn::RebindToSigned<D> signed_tag;
  const hn::RebindToUnsigned<D> entry_tag;
  const auto mask = hn::Set(entry_tag, (std::uint32_t{1} << static_cast<unsigned>(bits)) - 1);
  const auto entry = hn::LoadU(entry_tag, entries);
  const auto index = hn::BitCast(signed_tag, hn::ShiftRightSame(entry, bits));
  const auto weight = hn::ConvertTo(tag, hn::BitCast(signed_tag, hn::And(entry, mask)));
  // The byte and the three after it.
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): there is no gather of bytes
  const auto* words = reinterpret_cast<const std::int32_t*>(dense);
  const auto four = hn::GatherOffset(signed_tag, words, index);
  const auto value = hn::ConvertTo(tag, hn::And(four, hn::Set(signed_tag, 255)));
  sum = hn::MulAdd(weight, value, sum);
  squares = hn::MulAdd(weight, weight, squares);
}

void UnitDotRows(const SparseRows& matrix, const std::uint32_t* HWY_RESTRICT rows,
                 std::size_t count, const std::uint8_t* HWY_RESTRICT dense,
                 float* HWY_RESTRICT out) {
  const hn::CappedTag<float, 16> tag;
  const hn::CappedTag<float, 8> half;  // rows are whole numbers of these
  const std::size_t lanes = hn::Lanes(tag), room = matrix.room;
  const auto bits = static_cast<int>(matrix.weight_bits);
  const auto at = [&](std::size_t i) { return matrix.entries + std::size_t{rows[i]} * room; };
  for (std::size_t i = 0; i < std::min(kRowsAhead, count); ++i) prefetch(at(i), room);
  for (std::size_t i = 0; i < count; ++i) {
    if (i + kRowsAhead < count) prefetch(at(i + kRowsAhead), room);
    const std::uint32_t* HWY_RESTRICT row = at(i);
    auto sums = hn::Zero(tag), squares = hn::Zero(tag);
    std::size_t e = 0;
    for (; e + lanes <= room; e += lanes) add_entries(tag, row + e, bits, dense, sums, squares);
    float sum = hn::GetLane(hn::SumOfLanes(tag, sums));
    float length = hn::GetLane(hn::SumOfLanes(tag, squares));
    if (e < room) {
      auto rest = hn::Zero(half), rest_squares = hn::Zero(half);
      for (; e < room; e += hn::Lanes(half)) {
        add_entries(half, row + e, bits, dense, rest, rest_squares);
      }
      sum += hn::GetLane(hn::SumOfLanes(half, rest));
      length += hn::GetLane(hn::SumOfLanes(half, rest_squares));
    }
    out[i] = length > 0.0F ? sum / std::sqrt(length) : 0.0F;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace halo::kernels {

HWY_EXPORT(UnitDotRows);

void unit_dot_rows(const SparseRows& matrix, const std::uint32_t* rows, std::size_t count,
                   const std::uint8_t* dense, float* out) {
  HWY_DYNAMIC_DISPATCH(UnitDotRows)(matrix, rows, count, dense, out);
}

void unit_dot_rows_reference(const SparseRows& matrix, const std::uint32_t* rows, std::size_t count,
                             const std::uint8_t* dense, float* out) {
  const std::uint32_t mask = (std::uint32_t{1} << matrix.weight_bits) - 1;
  for (std::size_t i = 0; i < count; ++i) {
    double sum = 0, squares = 0;
    for (std::size_t e = 0; e < matrix.room; ++e) {
      const std::uint32_t entry = matrix.entries[std::size_t{rows[i]} * matrix.room + e];
      sum += double{1} * dense[entry >> matrix.weight_bits] * (entry & mask);
      squares += double{1} * (entry & mask) * (entry & mask);
    }
    out[i] = squares > 0 ? static_cast<float>(sum / std::sqrt(squares)) : 0.0F;
  }
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
