// Small dense operations on rows: scaled addition, normalisation, softmax, finiteness.
//
// Private to halo: not installed. Thread-safe; pointers need no alignment; x and y may be the same
// pointer only where said.
#pragma once

#include <cstddef>

#include "halo/core/half_matrix.h"

namespace halo::kernels {

/// y += alpha x over d floats.
void axpy(float alpha, const float* x, float* y, std::size_t d);
/// y += alpha x over d floats, x stored as bfloat16.
void axpy(float alpha, const Bf16* x, float* y, std::size_t d);
/// <x, y> over d floats, y stored as bfloat16, accumulated in float32.
float dot(const float* x, const Bf16* y, std::size_t d);
/// d floats rounded to bfloat16, to nearest, ties to even; finite inputs only.
void narrow(const float* x, std::size_t d, Bf16* out);
/// x *= alpha over d floats.
void scale(float alpha, float* x, std::size_t d);
/// Divides x by its L2 norm and returns that norm; leaves x as it is and returns 0 where the norm
/// is not a normal float (zero, or too small to divide by).
float normalise(float* x, std::size_t d);
/// In place: x_i <- exp(x_i - max x) / sum_j exp(x_j - max x). Accepts -inf entries; all of them
/// -inf, or d = 0, gives zeros, never NaN. Defined in softmax.cpp.
void softmax(float* x, std::size_t d);
/// True where none of the d floats is NaN or infinite.
bool all_finite(const float* x, std::size_t d);

}  // namespace halo::kernels
