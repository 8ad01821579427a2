// The seam through which every dense product goes: a packed, register-blocked product of our own,
// chosen at run time for the CPU (after Goto, van de Geijn: "Anatomy of high-performance matrix
// multiplication", 2008). No BLAS is linked: ours is level with OpenBLAS on one core
// (bench_attention), brings no thread pool of its own and gives the same bytes at any number of
// threads.
//
// Private to halo: not installed. Out must not alias an input; kernels only assert. Rows of `out`
// are computed in fixed blocks, so the bytes do not depend on the number of threads. Workspace: 1
// MB for the block of b, and 256 KB a thread. Plain twins (Eigen) in gemm_reference.h.
// Thread-safety: may be called from several threads at once.
#pragma once

#include <cstddef>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
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
/// out += a^T b.
void gemm_tn_add(const MatrixView& a, const MatrixView& b, const MatrixSpan& out,
                 const Executor& executor);

class PackedHalfMatrix;

/// The right-hand side of many products, laid out once for the running CPU's kernels. Immutable;
/// any number of threads may read it. Never stored: another CPU lays it out differently.
class PackedMatrix {
 public:
  PackedMatrix() = default;
  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  std::size_t bytes() const { return blocks_.rows() * blocks_.stride() * sizeof(float); }

 private:
  friend PackedMatrix pack(const MatrixView& b);
  friend PackedMatrix pack_transposed(const MatrixView& b);
  friend PackedMatrix pack_in_parallel(const MatrixView& b, const Executor& executor);
  friend PackedHalfMatrix pack_half(const MatrixView& b);
  friend void gemm(const MatrixView& a, const PackedMatrix& b, const MatrixSpan& out,
                   const Executor& executor);
  static PackedMatrix make(const MatrixView& b, bool transposed, const Executor* executor);

  std::size_t rows_ = 0, cols_ = 0;
  std::size_t panel_ = 0;  // columns a panel: what the kernels that packed it compute at once
  Matrix blocks_;          // one row: blocks of rows, each in panels of columns
};

/// b [k, n], packed; pack_transposed(b) packs b^T. O(k n).
PackedMatrix pack(const MatrixView& b);
PackedMatrix pack_transposed(const MatrixView& b);
PackedMatrix pack_in_parallel(const MatrixView& b, const Executor& executor);
/// out = a b, the same bytes as gemm with the matrix that was packed. O(m k n).
void gemm(const MatrixView& a, const PackedMatrix& b, const MatrixSpan& out,
          const Executor& executor);

/// The same, stored as bfloat16: half the memory, every weight rounded by at most 2^-8 of itself;
/// products are summed in float32. Where the CPU multiplies bfloat16 in hardware (bf16.h) the
/// left-hand side is rounded as well, at about twice the speed of float32.
class PackedHalfMatrix {
 public:
  PackedHalfMatrix() = default;
  std::size_t rows() const { return rows_; }
  std::size_t cols() const { return cols_; }
  std::size_t bytes() const { return blocks_.bytes(); }

 private:
  friend PackedHalfMatrix pack_half(const MatrixView& b);
  friend void gemm(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
                   const Executor& executor);
  friend void gemm_rounded(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
                           const Executor& executor);
  void multiply(const MatrixView& a, const MatrixSpan& out, bool rounded,
                const Executor& executor) const;
  void multiply_pairs(const MatrixView& a, const MatrixSpan& out, bool rounded,
                      const Executor& executor) const;

  std::size_t rows_ = 0, cols_ = 0, panel_ = 0;
  bool pairs_ = false;  // bf16::in_hardware() when it was packed: blocks of pairs (gemm_bf16.h)
  HalfMatrix blocks_;   // else as PackedMatrix's
};

/// Bfloat16 as float32. O(n).
void widen(const HalfView& from, const MatrixSpan& to);
/// b [k, n], rounded and packed. O(k n).
PackedHalfMatrix pack_half(const MatrixView& b);
/// out = a b with rounded b, and a in float32 or bfloat16. O(m k n).
void gemm(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor);
/// out += a^T b, with a [k, m], b [k, n] rounded to bfloat16, out [m, n], k at most 512, on the
/// calling thread. Only where bf16::in_hardware(). O(m k n).
void gemm_tn_add_half(const MatrixView& a, const MatrixView& b, const MatrixSpan& out);
/// The same as gemm with every entry of out rounded to bfloat16, kept as float32.
void gemm_rounded(const MatrixView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
                  const Executor& executor);
void gemm(const HalfView& a, const PackedHalfMatrix& b, const MatrixSpan& out,
          const Executor& executor);

}  // namespace halo::kernels
