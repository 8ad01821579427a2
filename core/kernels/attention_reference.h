// Plain references of flash_attention.h and graph_attention.h: one head, double precision, one
// entry at a time. For tests.
#pragma once

#include <cstddef>
#include <functional>
#include <vector>

#include "halo/core/matrix_view.h"

namespace halo::kernels::reference {

using Allowed = std::function<bool(std::size_t row, std::size_t key)>;

struct Attention {
  std::vector<double> out;  ///< [n, dv]
  std::vector<double> lse;  ///< [n]; -inf for a row that sees no key
};
Attention attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, double scale,
                    const Allowed& allowed);

struct AttentionGradients {
  std::vector<double> q, k, v;  ///< shaped as q, k, v
};
AttentionGradients attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                      double scale, const Allowed& allowed,
                                      const MatrixView& d_out);

}  // namespace halo::kernels::reference
