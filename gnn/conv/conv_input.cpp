#include "halo/gnn/conv/conv_input.h"

#include <algorithm>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;
constexpr std::size_t kColumnsAtOnce = 16;  // of a gradient: each thread takes its own

}  // namespace

ConvInput::ConvInput(const CsrView& pattern, std::span<const float> values)
    : sparse_(true), pattern_(pattern), values_(values) {
  if (values.size() != pattern.columns.size()) {
    throw Error(ErrorCode::kDimensionMismatch, "convolution: one value an entry is needed");
  }
}

void ConvInput::times_transposed(const MatrixView& weight, const MatrixSpan& out,
                                 const Executor& executor) const {
  if (!sparse_) {
    kernels::gemm_nt(dense_, weight, out, executor);
    return;
  }
  Matrix turned(weight.cols, weight.rows);
  for (std::size_t r = 0; r < weight.rows; ++r) {
    for (std::size_t c = 0; c < weight.cols; ++c) turned.row(c)[r] = weight.row(r)[c];
  }
  executor.parallel_for(rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      std::fill_n(out.row(i), out.cols, 0.0F);
      for (std::size_t e = pattern_.row_offsets[i]; e < pattern_.row_offsets[i + 1]; ++e) {
        kernels::axpy(values_[e], turned.row(pattern_.columns[e]), out.row(i), out.cols);
      }
    }
  });
}

void ConvInput::add_weight_gradient(const MatrixView& d_out, const MatrixSpan& d_weight,
                                    const Executor& executor) const {
  if (!sparse_) {
    kernels::gemm_tn_add(d_out, dense_, d_weight, executor);
    return;
  }
  Matrix turned(d_weight.cols, d_weight.rows);
  executor.parallel_for(d_out.cols, kColumnsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = 0; i < rows(); ++i) {
      for (std::size_t e = pattern_.row_offsets[i]; e < pattern_.row_offsets[i + 1]; ++e) {
        kernels::axpy(values_[e], d_out.row(i) + begin, turned.row(pattern_.columns[e]) + begin,
                      end - begin);
      }
    }
  });
  for (std::size_t r = 0; r < d_weight.rows; ++r) {
    for (std::size_t c = 0; c < d_weight.cols; ++c) d_weight.row(r)[c] += turned.row(c)[r];
  }
}

}  // namespace halo::gnn
