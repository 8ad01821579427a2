// Plain references of softmax.h, in double, for tests.
#pragma once

#include <cstddef>
#include <vector>

namespace halo::kernels::reference {

/// Softmax of d floats; zeros where d = 0 or every x is -inf. `lse`, where given, receives
/// log sum_j exp(x_j).
std::vector<double> softmax(const float* x, std::size_t d, double* lse = nullptr);

}  // namespace halo::kernels::reference
