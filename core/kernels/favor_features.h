// Positive random features (FAVOR+, Choromanski et al. 2021), without overflow, and the sums over
// keys that linear attention keeps of them.
//
// Private to halo: not installed. Kernels only assert. Thread-safe; outputs alias nothing.
#pragma once

#include <cstddef>
#include <limits>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels {

/// Features without overflow: phi [n, k] = e^(scale w_r . x_i - |scale x_i|^2 / 2 - shift_i) /
/// sqrt(k), shift_i [n] being the largest exponent of row i, so that a row's largest feature is
/// 1 / sqrt(k). x is [n, d]; omega_t is pack_transposed(omega), omega [k, d]. O(n k d).
void favor_features(const MatrixView& x, const PackedMatrix& omega_t, float scale,
                    const MatrixSpan& phi, std::span<float> shift, const Executor& executor);

/// The random directions of one head.
struct FavorMap {
  const PackedMatrix* omega_t = nullptr;  ///< pack_transposed(omega), omega [k, d]
  /// Where not null, pack_half of omega's transpose: features and their sums are then products in
  /// bfloat16. Only where bf16::in_hardware().
  const PackedHalfMatrix* half_omega_t = nullptr;

  std::size_t features() const { return omega_t->cols(); }
  std::size_t dim() const { return omega_t->rows(); }
};

/// Rows of features that exist at one time in one thread: whole tiles of every instruction set (14
/// rows or 6), and whole pairs.
constexpr std::size_t kFeatureBlock = 126;

/// Of a query block, on the calling thread: phi_ir = e^(scale w_r . x_i - shift_i) + epsilon, a
/// row's largest being 1 + epsilon, and sums[i] = phi_i . ones, where |x_i|^2 cancels.
void query_features(const MatrixView& x, const FavorMap& map, float scale, float epsilon,
                    const float* ones, const MatrixSpan& phi, float* sums);

/// Of a block of at most kFeatureBlock keys, on the calling thread: phi_jr = e^(exponent_jr -
/// max(shift, the block's largest exponent)), without epsilon. Returns that shift.
float key_features(const MatrixView& x, const FavorMap& map, float scale, float shift,
                   const MatrixSpan& phi);

/// How many rows a part of a long sum covers: whole blocks, at most 32 parts of all heads (or one a
/// head), so that memory does not grow with the rows; depends on nothing else.
std::size_t rows_a_part(std::size_t rows, std::size_t heads = 1);

/// sum_j (e^(exponents_j - max) + epsilon) v_j for every feature, and the same sums of 1.
struct KeySums {
  Matrix values;                                        ///< [k, dv]
  std::vector<float> ones;                              ///< [k]
  float max = -std::numeric_limits<float>::infinity();  ///< the common shift of all keys
};
/// For every head, which owns as many columns of k and of v as the others, in their order.
std::vector<KeySums> sum_keys(const MatrixView& k, const MatrixView& v,
                              std::span<const FavorMap> heads, float scale, float epsilon,
                              const Executor& executor);
std::vector<KeySums> sum_keys(const HalfView& k, const HalfView& v, std::span<const FavorMap> heads,
                              float scale, float epsilon, const Executor& executor);

}  // namespace halo::kernels
