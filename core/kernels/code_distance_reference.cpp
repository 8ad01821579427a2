#include "halo/core/kernels/code_distance_reference.h"

namespace halo::kernels::reference {
namespace {

// `as` gives an element of a row as the number it stands for.
template <class Sum, class Query, class Row, class As>
Sum l2(const Query* query, const Row* row, std::size_t width, As as) {
  Sum sum = 0;
  for (std::size_t i = 0; i < width; ++i) {
    const Sum diff = Sum{query[i]} - Sum{as(row[i])};
    sum += diff * diff;
  }
  return sum;
}
template <class Sum, class Query, class Row, class As>
Sum dot(const Query* query, const Row* row, std::size_t width, As as) {
  Sum sum = 0;
  for (std::size_t i = 0; i < width; ++i) sum += Sum{query[i]} * Sum{as(row[i])};
  return sum;
}

constexpr auto kItself = [](std::int8_t code) { return code; };

}  // namespace

std::int64_t l2_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width) {
  return l2<std::int64_t>(query, row, width, kItself);
}
std::int64_t dot_int8(const std::int16_t* query, const std::int8_t* row, std::size_t width) {
  return dot<std::int64_t>(query, row, width, kItself);
}
double l2_bf16(const float* query, const Bf16* row, std::size_t width) {
  return l2<double>(query, row, width, bf16_to_float);
}
double dot_bf16(const float* query, const Bf16* row, std::size_t width) {
  return dot<double>(query, row, width, bf16_to_float);
}
double l2_f16(const float* query, const F16* row, std::size_t width) {
  return l2<double>(query, row, width, f16_to_float);
}
double dot_f16(const float* query, const F16* row, std::size_t width) {
  return dot<double>(query, row, width, f16_to_float);
}

}  // namespace halo::kernels::reference
