// Row-major float32 matrices: a read-only view, a mutable view and an owner.
//
// Thread-safety: views are values; an owner may be read by any number of threads.
// Invariants: stride >= cols; row i starts at data + i * stride. An owner's rows are 64-byte
// aligned when its stride is a multiple of 16 floats, and the padding between cols and stride is
// zero.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <span>

namespace halo {

/// Read-only view of `rows` x `cols` floats, consecutive rows `stride` floats apart.
struct MatrixView {
  const float* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  MatrixView() = default;
  MatrixView(const float* d, std::size_t r, std::size_t c) : MatrixView(d, r, c, c) {}
  MatrixView(const float* d, std::size_t r, std::size_t c, std::size_t s)
      : data(d), rows(r), cols(c), stride(s) {}

  const float* row(std::size_t i) const { return data + i * stride; }
  std::span<const float> row_span(std::size_t i) const { return {row(i), cols}; }
  MatrixView sub_rows(std::size_t begin, std::size_t count) const {
    return {data + begin * stride, count, cols, stride};
  }
  MatrixView sub_cols(std::size_t begin, std::size_t count) const {
    return {data + begin, rows, count, stride};
  }
};

/// The mutable twin of MatrixView.
struct MatrixSpan {
  float* data = nullptr;
  std::size_t rows = 0;
  std::size_t cols = 0;
  std::size_t stride = 0;

  MatrixSpan() = default;
  MatrixSpan(float* d, std::size_t r, std::size_t c) : MatrixSpan(d, r, c, c) {}
  MatrixSpan(float* d, std::size_t r, std::size_t c, std::size_t s)
      : data(d), rows(r), cols(c), stride(s) {}

  float* row(std::size_t i) const { return data + i * stride; }
  std::span<float> row_span(std::size_t i) const { return {row(i), cols}; }
  MatrixSpan sub_rows(std::size_t begin, std::size_t count) const {
    return {data + begin * stride, count, cols, stride};
  }
  MatrixSpan sub_cols(std::size_t begin, std::size_t count) const {
    return {data + begin, rows, count, stride};
  }
  // NOLINTNEXTLINE(google-explicit-constructor)
  operator MatrixView() const { return {data, rows, cols, stride}; }
};

/// Owns a zero-initialised, 64-byte aligned matrix. Throws kOutOfMemory when it cannot be
/// allocated.
class Matrix {
 public:
  Matrix() = default;
  Matrix(std::size_t rows, std::size_t cols) : Matrix(rows, cols, cols) {}

  /// Rows padded with zeros to a multiple of 16 floats, so that every row is 64-byte aligned.
  static Matrix padded(std::size_t rows, std::size_t cols) {
    return Matrix(rows, cols, (cols + 15) / 16 * 16);
  }
  static Matrix copy_of(MatrixView view);

  Matrix(Matrix&& other) noexcept { swap(other); }
  Matrix& operator=(Matrix&& other) noexcept {
    swap(other);
    return *this;
  }
  Matrix(const Matrix&) = delete;
  Matrix& operator=(const Matrix&) = delete;

  std::size_t rows() const { return view_.rows; }
  std::size_t cols() const { return view_.cols; }
  std::size_t stride() const { return view_.stride; }
  bool empty() const { return view_.rows == 0 || view_.cols == 0; }
  float* data() { return view_.data; }
  const float* data() const { return view_.data; }
  float* row(std::size_t i) { return view_.row(i); }
  const float* row(std::size_t i) const { return view_.row(i); }
  std::span<const float> row_span(std::size_t i) const { return {row(i), cols()}; }
  MatrixSpan span() { return view_; }
  MatrixView view() const { return view_; }
  operator MatrixView() const { return view_; }  // NOLINT(google-explicit-constructor)
  operator MatrixSpan() { return view_; }        // NOLINT(google-explicit-constructor)

 private:
  Matrix(std::size_t rows, std::size_t cols, std::size_t stride);
  void swap(Matrix& other) noexcept {
    std::swap(storage_, other.storage_);
    std::swap(view_, other.view_);
  }

  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> storage_;
  MatrixSpan view_;
};

}  // namespace halo
