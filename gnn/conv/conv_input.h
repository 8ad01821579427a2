// What a convolution layer reads: rows of features, dense, or sparse as bags of words are.
//
// Thread-safety: borrows what it was made from; reads are const.
#pragma once

#include <span>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

class ConvInput {
 public:
  ConvInput(const MatrixView& dense) : dense_(dense) {}  // NOLINT
  ConvInput(const Matrix& dense) : dense_(dense) {}      // NOLINT
  /// Row i holds values[e] in column pattern.columns[e] for its entries e, and zeros. Throws
  /// kDimensionMismatch unless there is one value an entry.
  ConvInput(const CsrView& pattern, std::span<const float> values);

  std::size_t rows() const { return sparse_ ? pattern_.rows() : dense_.rows; }
  std::size_t cols() const { return sparse_ ? pattern_.num_columns : dense_.cols; }

  /// out [rows, n] = x weight^T, weight [n, cols]. O(rows cols n), O(entries n) where sparse.
  void times_transposed(const MatrixView& weight, const MatrixSpan& out,
                        const Executor& executor) const;
  /// d_weight [n, cols] += d_out^T x, d_out [rows, n]. The same cost; the bytes do not depend on
  /// the number of threads.
  void add_weight_gradient(const MatrixView& d_out, const MatrixSpan& d_weight,
                           const Executor& executor) const;

 private:
  bool sparse_ = false;
  MatrixView dense_;
  CsrView pattern_;
  std::span<const float> values_;
};

}  // namespace halo::gnn
