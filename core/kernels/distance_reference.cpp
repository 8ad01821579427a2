#include "halo/core/kernels/distance_reference.h"

namespace halo::kernels::reference {

double l2_squared(const float* a, const float* b, std::size_t d) {
  double sum = 0;
  for (std::size_t i = 0; i < d; ++i) {
    const double diff = double{a[i]} - double{b[i]};
    sum += diff * diff;
  }
  return sum;
}

double dot(const float* a, const float* b, std::size_t d) {
  double sum = 0;
  for (std::size_t i = 0; i < d; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

}  // namespace halo::kernels::reference
