// Plain references of linear_attention.h, in double, for tests.
#pragma once

#include <cstddef>
#include <vector>

#include "halo/core/matrix_view.h"

namespace halo::kernels::reference {

/// [n, k] logarithms of the features e^(scale w_r . x_i - |scale x_i|^2 / 2), without 1 / sqrt(k).
std::vector<double> favor_exponents(const MatrixView& x, const MatrixView& omega, double scale);

/// [n, dv], through the n x m matrix of estimated kernels.
std::vector<double> linear_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     const MatrixView& omega, double scale, double epsilon);

struct LinearAttentionGradients {
  std::vector<double> q, k, v;  ///< shaped as q, k, v
};
/// The gradients of sum(d_out * linear_attention), the stabilising shifts held constant.
LinearAttentionGradients linear_attention_backward(const MatrixView& q, const MatrixView& k,
                                                   const MatrixView& v, const MatrixView& omega,
                                                   double scale, double epsilon,
                                                   const MatrixView& d_out);

}  // namespace halo::kernels::reference
