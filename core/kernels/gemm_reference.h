// Plain twins of gemm.h: Eigen's products on the calling thread. What the kernels are tested and
// measured against.
#pragma once

#include "halo/core/matrix_view.h"

namespace halo::kernels::reference {

void gemm(const MatrixView& a, const MatrixView& b, const MatrixSpan& out);
void gemm_nt(const MatrixView& a, const MatrixView& b, const MatrixSpan& out);
void gemm_tn(const MatrixView& a, const MatrixView& b, const MatrixSpan& out);

}  // namespace halo::kernels::reference
