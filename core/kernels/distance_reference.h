// Plain references of distance.h, accumulated in double, for tests.
#pragma once

#include <cstddef>

namespace halo::kernels::reference {

double l2_squared(const float* a, const float* b, std::size_t d);
double dot(const float* a, const float* b, std::size_t d);

}  // namespace halo::kernels::reference
