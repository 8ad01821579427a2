// Batches of sequences, [batch, n, d_model] row-major float32: a read-only view, a mutable view, an
// owner.
//
// Thread-safety: views are values; an owner may be read by any number of threads.
// Invariants: item b is the n x dim matrix that starts at data + b * n * stride; stride >= dim. A
// plain matrix is a batch of one.
#pragma once

#include <cstddef>

#include "halo/core/matrix_view.h"

namespace halo::attention {

/// Read-only view of `batch` sequences of `n` rows of `dim` floats, rows `stride` floats apart.
struct TensorView {
  const float* data = nullptr;
  std::size_t batch = 0;
  std::size_t n = 0;
  std::size_t dim = 0;
  std::size_t stride = 0;

  TensorView() = default;
  TensorView(const float* d, std::size_t b, std::size_t rows, std::size_t cols)
      : data(d), batch(b), n(rows), dim(cols), stride(cols) {}
  TensorView(const MatrixView& m)  // NOLINT(google-explicit-constructor)
      : data(m.data), batch(1), n(m.rows), dim(m.cols), stride(m.stride) {}
  TensorView(const Matrix& m) : TensorView(m.view()) {}  // NOLINT(google-explicit-constructor)

  MatrixView item(std::size_t b) const { return {data + b * n * stride, n, dim, stride}; }
  /// All items under each other: [batch * n, dim].
  MatrixView flat() const { return {data, batch * n, dim, stride}; }
};

/// The mutable twin of TensorView.
struct TensorSpan {
  float* data = nullptr;
  std::size_t batch = 0;
  std::size_t n = 0;
  std::size_t dim = 0;
  std::size_t stride = 0;

  TensorSpan() = default;
  TensorSpan(float* d, std::size_t b, std::size_t rows, std::size_t cols)
      : TensorSpan(d, b, rows, cols, cols) {}
  TensorSpan(float* d, std::size_t b, std::size_t rows, std::size_t cols, std::size_t row_stride)
      : data(d), batch(b), n(rows), dim(cols), stride(row_stride) {}
  TensorSpan(const MatrixSpan& m)  // NOLINT(google-explicit-constructor)
      : TensorSpan(m.data, 1, m.rows, m.cols, m.stride) {}

  MatrixSpan item(std::size_t b) const { return {data + b * n * stride, n, dim, stride}; }
  MatrixSpan flat() const { return {data, batch * n, dim, stride}; }
  operator TensorView() const {  // NOLINT(google-explicit-constructor)
    TensorView view(data, batch, n, dim);
    view.stride = stride;
    return view;
  }
};

/// Owns a zero-initialised tensor without padding: element (b, i, j) is data()[(b n + i) dim + j].
/// Throws kOutOfMemory where it cannot be allocated or addressed.
class Tensor {
 public:
  Tensor() = default;
  Tensor(std::size_t batch, std::size_t n, std::size_t dim);
  static Tensor copy_of(const TensorView& view);

  std::size_t batch() const { return batch_; }
  std::size_t n() const { return n_; }
  std::size_t dim() const { return rows_.cols(); }
  float* data() { return rows_.data(); }
  const float* data() const { return rows_.data(); }
  MatrixSpan item(std::size_t b) { return span().item(b); }
  MatrixView item(std::size_t b) const { return view().item(b); }
  TensorView view() const { return {rows_.data(), batch_, n_, dim()}; }
  TensorSpan span() { return {rows_.data(), batch_, n_, dim()}; }
  operator TensorView() const { return view(); }  // NOLINT(google-explicit-constructor)
  operator TensorSpan() { return span(); }        // NOLINT(google-explicit-constructor)

 private:
  std::size_t batch_ = 0;
  std::size_t n_ = 0;
  Matrix rows_;
};

}  // namespace halo::attention
