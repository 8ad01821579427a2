// The form of the vectors that a graph walk reads, and that an index keeps: float32, bfloat16,
// float16, or 8-bit codes.
//
// A walk is bound by the bytes it reads, so 8-bit codes make it about three times as fast; what it
// finds is then ordered by exact distances (SearchOptions::rescore). Distances between codes are
// sums of small integers, exact, and the query keeps up to 16 bits a value.
//
// Thread-safety: immutable. Invariants: rows begin at cache lines and are padded with zeros.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/index/metric.h"

namespace halo {

/// Persisted in index files: numbers are never reused.
enum class CodeKind : std::uint32_t {
  kF32 = 1,   ///< the vectors themselves: nothing beside them is stored
  kBf16 = 2,  ///< the upper halves of the floats
  kInt8 = 3,  ///< one byte a value, of one scale for the whole index
  kF16 = 4,   ///< IEEE half precision: three bits more than bf16, values up to 65,504
};

/// "f32", "bf16", "int8" or "f16".
std::string_view code_kind_name(CodeKind kind) noexcept;

/// int8 codes: code_i = round((x_i - offset_i) / scale) within [-128, 127].
///
/// Offsets are the mean under kL2, where they cancel in every difference, and 0 otherwise. The
/// scale is the one with the least squared error on a sample, so that a few outliers are clipped
/// where that serves the rest. Whole numbers from 0 to 255 (or -128 to 127) under kL2 become codes
/// without loss.
struct Int8Quantiser {
  float scale = 1;
  std::vector<float> offset;  ///< dim values
  bool lossless = false;      ///< every vector it was fitted to equals its code's value

  /// O(n d) where the vectors are whole numbers, O(d) otherwise. Deterministic.
  static Int8Quantiser fit(Metric metric, const MatrixView& vectors);
  /// Whether codes of `vectors` under kL2 are lossless. O(n d) if so, O(d) as a rule if not.
  static bool lossless_for(const MatrixView& vectors);
  /// Whether `vectors` lie in the range: all lossless where the codes were, and not in need of a
  /// scale much larger otherwise. As fit().
  bool fits(Metric metric, const MatrixView& vectors) const;
};

/// Writes one vector's codes of `kind` (not kF32) to a row, which is padded with zeros to a
/// multiple of 64 bytes. `quantiser` is for kInt8 only.
void encode_row(CodeKind kind, const Int8Quantiser& quantiser, std::span<const float> vector,
                std::byte* row);

/// The vector that a row's codes stand for.
void decode_row(CodeKind kind, const Int8Quantiser& quantiser, const std::byte* row,
                std::span<float> vector);

/// Copies share the codes.
class VectorCodes {
 public:
  /// No codes: kF32.
  VectorCodes() = default;
  /// Codes of vectors [n, d], which are finite (and of unit length under kCosine). Throws
  /// kOutOfMemory. O(n d).
  static VectorCodes encode(CodeKind kind, Metric metric, const MatrixView& vectors);

  CodeKind kind() const { return kind_; }
  /// True where distances between codes are exact distances (kInt8 of small whole numbers).
  bool lossless() const { return quantiser_.lossless; }
  const Int8Quantiser& quantiser() const { return quantiser_; }
  const std::byte* data() const { return data_.get(); }
  const std::byte* row(std::size_t i) const { return data_.get() + i * stride_; }
  /// Bytes from one row to the next, a multiple of 64; 0 without codes.
  std::size_t stride() const { return stride_; }
  std::size_t bytes() const { return rows_ * stride_; }

 private:
  CodeKind kind_ = CodeKind::kF32;
  std::size_t rows_ = 0, stride_ = 0;
  std::shared_ptr<const std::byte> data_;
  Int8Quantiser quantiser_;
};

}  // namespace halo
