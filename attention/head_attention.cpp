#include "halo/attention/head_attention.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/attention/detail/block_sparse.h"
#include "halo/attention/detail/dense_attention.h"
#include "halo/attention/detail/head_checks.h"
#include "halo/attention/detail/packed_features.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/graph_attention.h"
#include "halo/core/kernels/linear_attention.h"

namespace halo::attention {
namespace {

using detail::check_gradients;
using detail::check_mask_shape;
using detail::check_shapes;
using detail::require;

void flash_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                    const kernels::FlashOptions& options, const MatrixView& d_out,
                    const HeadGradients& gradients, const Executor& executor) {
  Matrix out = Matrix::padded(q.rows, v.cols);
  std::vector<float> lse(q.rows);
  kernels::flash_attention_forward(q, k, v, options, out, lse, executor);
  kernels::flash_attention_backward(q, k, v, options, out, lse, d_out,
                                    {gradients.q, gradients.k, gradients.v}, executor);
}

kernels::LinearAttentionOptions linear_options(const RandomFeatures& features, float scale,
                                               const MatrixView& q) {
  require(features.dim() == q.cols, "dimension of the random features", features.dim(), q.cols);
  if (scale <= 0.0F) {
    throw Error(ErrorCode::kInvalidArgument, "attention: linear attention needs a scale above 0");
  }
  return {.scale = std::sqrt(scale)};
}

}  // namespace

void standard_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                        const MatrixSpan& out, const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  detail::dense_attention(q, k, v, nullptr, 1, scale, false, out, executor);
}

void standard_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                 float scale, const MatrixView& d_out,
                                 const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  detail::dense_attention_backward(q, k, v, nullptr, 1, scale, d_out, gradients.q, gradients.k,
                                   gradients.v, executor);
}

void masked_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      const CsrView& mask, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  validate(mask);
  check_mask_shape(mask.rows(), mask.num_columns, q, k);
  detail::dense_attention(q, k, v, &mask, 1, scale, false, out, executor);
}

void masked_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const CsrView& mask, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  validate(mask);
  check_mask_shape(mask.rows(), mask.num_columns, q, k);
  detail::dense_attention_backward(q, k, v, &mask, 1, scale, d_out, gradients.q, gradients.k,
                                   gradients.v, executor);
}

void flash_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                     const MatrixSpan& out, std::span<float> lse, const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  require(lse.empty() || lse.size() == q.rows, "values of lse", lse.size(), q.rows);
  kernels::flash_attention_forward(q, k, v, {.scale = scale}, out, lse, executor);
}

void flash_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              float scale, const MatrixView& d_out, const HeadGradients& gradients,
                              const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  flash_backward(q, k, v, {1, scale}, d_out, gradients, executor);
}

void csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                   const CsrView& mask, float scale, const MatrixSpan& out,
                   const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  validate(mask);
  check_mask_shape(mask.rows(), mask.num_columns, q, k);
  kernels::graph_attention_forward(q, k, v, mask, {1, scale}, out, {}, executor);
}

void csr_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                            const CsrView& mask, float scale, const MatrixView& d_out,
                            const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  validate(mask);
  check_mask_shape(mask.rows(), mask.num_columns, q, k);
  kernels::GraphWorkspace workspace;
  kernels::graph_attention_backward(q, k, v, mask, kernels::transposed_edges(mask), {1, scale}, {},
                                    d_out, {gradients.q, gradients.k, gradients.v}, workspace,
                                    executor);
}

void block_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const BlockMask& mask, float scale, const MatrixSpan& out,
                     const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  check_mask_shape(mask.n(), mask.n(), q, k);
  std::vector<float> lse(q.rows);
  detail::block_attention(q, k, v, {.scale = scale}, mask, out, lse, executor);
}

void block_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const BlockMask& mask, float scale, const MatrixView& d_out,
                              const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  check_mask_shape(mask.n(), mask.n(), q, k);
  Matrix out = Matrix::padded(q.rows, v.cols);
  std::vector<float> lse(q.rows);
  detail::block_attention(q, k, v, {.scale = scale}, mask, out, lse, executor);
  detail::block_attention_backward(q, k, v, 1, mask, scale, out, lse, d_out, gradients.q,
                                   gradients.k, gradients.v, executor);
}

void window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      std::size_t window, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  require(k.rows == q.rows, "number of keys", k.rows, q.rows);
  kernels::flash_attention_forward(q, k, v, {.scale = scale, .window = window}, out, {}, executor);
}

void window_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               std::size_t window, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  require(k.rows == q.rows, "number of keys", k.rows, q.rows);
  flash_backward(q, k, v, {.scale = scale, .window = window}, d_out, gradients, executor);
}

void linear_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                      const RandomFeatures& features, float scale, const MatrixSpan& out,
                      const Executor& executor) {
  check_shapes(q, k, v, scale, out);
  kernels::linear_attention_forward(q, k, v, features.packed().omega_t,
                                    linear_options(features, scale, q), out, executor);
}

void linear_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                               const RandomFeatures& features, float scale, const MatrixView& d_out,
                               const HeadGradients& gradients, const Executor& executor) {
  check_gradients(q, k, v, scale, d_out, gradients);
  kernels::linear_attention_backward(q, k, v, features.packed().omega, features.packed().omega_t,
                                     linear_options(features, scale, q), d_out,
                                     {gradients.q, gradients.k, gradients.v}, executor);
}

}  // namespace halo::attention
