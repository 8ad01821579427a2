#include "halo/core/kernels/softmax_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace halo::kernels::reference {

std::vector<double> softmax(const float* x, std::size_t d, double* lse) {
  constexpr double kNone = -std::numeric_limits<double>::infinity();
  double largest = kNone;
  for (std::size_t i = 0; i < d; ++i) largest = std::max(largest, double{x[i]});
  std::vector<double> p(d, 0.0);
  double sum = 0;
  if (largest != kNone) {
    for (std::size_t i = 0; i < d; ++i) sum += p[i] = std::exp(double{x[i]} - largest);
    for (double& value : p) value /= sum;
  }
  if (lse != nullptr) *lse = largest == kNone ? kNone : largest + std::log(sum);
  return p;
}

}  // namespace halo::kernels::reference
