// Plain references of code_distance.h, for tests: integers for int8 codes, double for the others.
#pragma once

#include <cstddef>
#include <cstdint>

#include "halo/core/half_matrix.h"

namespace halo::kernels::reference {

std::int64_t l2_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width);
std::int64_t dot_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width);
double l2_bf16(const float* query, const Bf16* row, std::size_t width);
double dot_bf16(const float* query, const Bf16* row, std::size_t width);
double l2_f16(const float* query, const F16* row, std::size_t width);
double dot_f16(const float* query, const F16* row, std::size_t width);

}  // namespace halo::kernels::reference
