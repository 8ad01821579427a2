#include "halo/attention/detail/row_kernels.h"

#include <algorithm>
#include <cassert>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention::detail {

std::size_t dense_block(std::size_t keys) {
  constexpr std::size_t kLogits = (std::size_t{1} << 20) / sizeof(float);
  return std::clamp<std::size_t>(kLogits / std::max<std::size_t>(keys, 1), 4, kRowBlock);
}

void for_each_block(
    const Executor& executor, std::size_t items, std::size_t n, std::size_t block,
    const std::function<void(std::size_t, std::size_t, std::size_t, std::size_t)>& body) {
  const std::size_t blocks = (n + block - 1) / block;
  executor.parallel_for_workers(items * blocks, 1,
                                [&](std::size_t worker, std::size_t first, std::size_t last) {
                                  for (std::size_t c = first; c < last; ++c) {
                                    const std::size_t begin = c % blocks * block;
                                    body(worker, c / blocks, begin, std::min(n, begin + block));
                                  }
                                });
}

const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

void dense_rows(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                const MatrixSpan& out, float* scratch) {
  assert(q.cols == k.cols && k.rows == v.rows && out.rows == q.rows && out.cols == v.cols);
  if (k.rows == 0) {
    for (std::size_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0F);
    return;
  }
  const MatrixSpan logits(scratch, q.rows, k.rows);
  kernels::gemm_nt(q, k, logits, calling_thread());
  for (std::size_t i = 0; i < logits.rows; ++i) {
    kernels::scale(scale, logits.row(i), logits.cols);
    kernels::softmax(logits.row(i), logits.cols);
  }
  kernels::gemm(logits, v, out, calling_thread());
}

void window_row(const float* q, const MatrixView& k, const MatrixView& v, std::size_t begin,
                std::size_t end, float scale, float* out, float* scratch) {
  assert(begin <= end && end <= k.rows && k.rows == v.rows);
  const kernels::PairFn dot = kernels::dot_kernel();
  for (std::size_t j = begin; j < end; ++j) scratch[j - begin] = scale * dot(q, k.row(j), k.cols);
  kernels::softmax(scratch, end - begin);
  std::fill_n(out, v.cols, 0.0F);
  for (std::size_t j = begin; j < end; ++j) {
    kernels::axpy(scratch[j - begin], v.row(j), out, v.cols);
  }
}

void columns_row(const float* q, const MatrixView& k, const MatrixView& v,
                 std::span<const std::uint32_t> columns, float scale, float* out, float* scratch) {
  assert(k.rows == v.rows);
  kernels::dot_rows(q, k.data, k.stride, columns.data(), columns.size(), k.cols, scratch);
  kernels::scale(scale, scratch, columns.size());
  kernels::softmax(scratch, columns.size());
  std::fill_n(out, v.cols, 0.0F);
  for (std::size_t e = 0; e < columns.size(); ++e) {
    kernels::axpy(scratch[e], v.row(columns[e]), out, v.cols);
  }
}

}  // namespace halo::attention::detail
