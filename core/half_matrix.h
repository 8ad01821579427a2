// Matrices stored as bfloat16 (the upper half of a float32): half the memory and bandwidth of
// float32 for data that is read often and tolerates a relative error of 2^-8. Sums over them are
// accumulated in float32.
//
// Thread-safety: as Matrix. Invariants: rows are 64-byte aligned and padded with zeros.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <utility>

#include "halo/core/matrix_view.h"

namespace halo {

using Bf16 = std::uint16_t;

inline float bf16_to_float(Bf16 x) { return std::bit_cast<float>(std::uint32_t{x} << 16); }
/// Rounds to nearest, ties to even; finite inputs only.
inline Bf16 float_to_bf16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<Bf16>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

/// IEEE 754 half precision: 11 significant bits, up to 65,504.
struct F16 {
  std::uint16_t bits = 0;
};
inline constexpr float kGreatestF16 = 65504.0F;

inline float f16_to_float(F16 x) {
  const std::uint32_t sign = std::uint32_t{x.bits} << 16U & 0x80000000U;
  const std::uint32_t magnitude = x.bits & 0x7fffU;
  if (magnitude < 0x400U) {  // 0 and subnormals: multiples of 2^-24
    const float value = static_cast<float>(magnitude) * 0x1p-24F;
    return sign != 0 ? -value : value;
  }
  return std::bit_cast<float>(sign | ((magnitude << 13U) + 0x38000000U));
}
/// Rounds to nearest, ties to even; what is beyond kGreatestF16 becomes it. Finite inputs only.
inline F16 float_to_f16(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t sign = bits >> 16U & 0x8000U, magnitude = bits & 0x7fffffffU;
  if (magnitude >= 0x477ff000U) return {static_cast<std::uint16_t>(sign | 0x7bffU)};
  if (magnitude < 0x38800000U) {  // below 2^-14: adding 1/2 leaves multiples of 2^-24, rounded
    const float shifted = std::bit_cast<float>(magnitude) + 0.5F;
    return {
        static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000U))};
  }
  const std::uint32_t rounded = magnitude + 0xfffU + (magnitude >> 13U & 1U);
  return {static_cast<std::uint16_t>(sign | ((rounded - 0x38000000U) >> 13U))};
}

/// Read-only view of `rows` x `cols` bfloat16 values, consecutive rows `stride` values apart.
struct HalfView {
  const Bf16* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;

  const Bf16* row(std::size_t i) const { return data + i * stride; }
  HalfView sub_rows(std::size_t begin, std::size_t count) const {
    return {data + begin * stride, count, cols, stride};
  }
  HalfView sub_cols(std::size_t begin, std::size_t count) const {
    return {data + begin, rows, count, stride};
  }
};

/// Owns `rows` x `cols` bfloat16 values. Throws kOutOfMemory when it cannot be allocated.
class HalfMatrix {
 public:
  HalfMatrix() = default;
  HalfMatrix(std::size_t rows, std::size_t cols);
  static HalfMatrix rounded(const MatrixView& view);

  HalfMatrix(HalfMatrix&& other) noexcept { swap(other); }
  HalfMatrix& operator=(HalfMatrix&& other) noexcept {
    swap(other);
    return *this;
  }
  HalfMatrix(const HalfMatrix&) = delete;
  HalfMatrix& operator=(const HalfMatrix&) = delete;

  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  std::size_t stride() const { return stride_; }
  Bf16* row(std::size_t i) { return storage_.get() + i * stride_; }
  const Bf16* row(std::size_t i) const { return storage_.get() + i * stride_; }
  /// The whole storage, padding included.
  std::span<Bf16> values() { return {storage_.get(), rows_ * stride_}; }
  std::span<const Bf16> values() const { return {storage_.get(), rows_ * stride_}; }
  HalfView view() const { return {storage_.get(), rows_, cols_, stride_}; }
  operator HalfView() const { return view(); }  // NOLINT(google-explicit-constructor)
  std::size_t bytes() const { return rows_ * stride_ * sizeof(Bf16); }

 private:
  void swap(HalfMatrix& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(rows_, other.rows_);
    std::swap(cols_, other.cols_);
    std::swap(stride_, other.stride_);
  }
  struct Free {
    void operator()(Bf16* p) const { std::free(p); }
  };
  std::unique_ptr<Bf16[], Free> storage_;
  std::size_t rows_ = 0, cols_ = 0, stride_ = 0;
};

}  // namespace halo
