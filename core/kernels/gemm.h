// The seam through which every dense product goes.
//
// Private to halo: not installed. Out must not alias an input. Rows of `out` are computed in fixed
// blocks, so the bytes do not depend on the number of threads.
#pragma once

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels {

/// out = a b, with a [m, k], b [k, n], out [m, n]. O(m k n).
void gemm(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
          const Executor& executor);
/// out = a b^T, with a [m, k], b [n, k], out [m, n]. O(m k n).
void gemm_nt(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor);
/// out = a^T b, with a [k, m], b [k, n], out [m, n]. O(m k n).
void gemm_tn(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
             const Executor& executor);

}  // namespace halo::kernels
