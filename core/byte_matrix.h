// Matrices stored as 8-bit integers with a scale a row: a quarter of float32's memory for rows that
// are read often and compared by cosine (the error of a value is at most 1/254 of its row's
// largest).
//
// Thread-safety: as Matrix. Invariants: rows are 64-byte aligned and padded with zeros to whole
// cache lines.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/aligned_memory.h"
#include "halo/core/matrix_view.h"

namespace halo {

class ByteMatrix {
 public:
  ByteMatrix() = default;
  /// Zeros, with scales of 0. Throws kOutOfMemory when it cannot be allocated.
  ByteMatrix(std::size_t rows, std::size_t cols);
  /// Each row rounded to 127 steps of its largest magnitude; finite inputs only. O(rows cols).
  static ByteMatrix quantised(const MatrixView& view);

  std::size_t rows() const { return scales_.size(); }
  std::size_t cols() const { return cols_; }
  /// Bytes from one row to the next.
  std::size_t stride() const { return stride_; }
  const std::int8_t* data() const { return values_.get(); }
  std::int8_t* row(std::size_t i) { return values_.get() + i * stride_; }
  const std::int8_t* row(std::size_t i) const { return values_.get() + i * stride_; }
  /// value = scale * byte.
  float scale(std::size_t i) const { return scales_[i]; }
  std::span<float> scales() { return scales_; }
  std::span<const float> scales() const { return scales_; }
  /// Row i becomes row `from` of `other`, which has as many columns. O(cols).
  void set_row(std::size_t i, const ByteMatrix& other, std::size_t from);
  /// Row i as float32; `out` holds cols() values. O(cols).
  void copy_row(std::size_t i, float* out) const;
  std::size_t bytes() const { return rows() * (stride_ + sizeof(float)); }

 private:
  AlignedArray<std::int8_t> values_;
  std::vector<float> scales_;
  std::size_t cols_ = 0, stride_ = 0;
};

}  // namespace halo
