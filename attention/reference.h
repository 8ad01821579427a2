// Plain, double-precision twins of head_attention.h: what the fast kernels are tested against.
//
// Thread-safety: pure functions. Nothing is checked; shapes as in head_attention.h. Each returns
// out [n, dv], row-major. Written for being read: no blocking, no SIMD, one row at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/core/matrix_view.h"

namespace halo::attention::reference {

std::vector<double> standard_attention(const MatrixView& q, const MatrixView& k,
                                       const MatrixView& v, double scale);
std::vector<double> csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                  const CsrView& mask, double scale);
std::vector<double> window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     std::size_t window, double scale);
/// `indices` may repeat; each counts once.
std::vector<double> global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     std::span<const std::uint32_t> indices, double scale);

}  // namespace halo::attention::reference
