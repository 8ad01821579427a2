#include "halo/core/kernels/code_distance_reference.h"

namespace halo::kernels::reference {

std::int64_t l2_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const std::int64_t diff = std::int64_t{query[i]} - std::int64_t{row[i]};
    sum += diff * diff;
  }
  return sum;
}

std::int64_t dot_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width) {
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += std::int64_t{query[i]} * std::int64_t{row[i]};
  return sum;
}

double l2_bf16(const float* query, const Bf16* row, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const double diff = double{query[i]} - double{bf16_to_float(row[i])};
    sum += diff * diff;
  }
  return sum;
}

double dot_bf16(const float* query, const Bf16* row, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += double{query[i]} * double{bf16_to_float(row[i])};
  return sum;
}

double l2_f16(const float* query, const F16* row, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const double diff = double{query[i]} - double{f16_to_float(row[i])};
    sum += diff * diff;
  }
  return sum;
}

double dot_f16(const float* query, const F16* row, std::size_t width) {
  double sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += double{query[i]} * double{f16_to_float(row[i])};
  return sum;
}

}  // namespace halo::kernels::reference
