#include "halo/core/kernels/linear_attention_reference.h"

#include <algorithm>
#include <cmath>

namespace halo::kernels::reference {

std::vector<double> favor_exponents(const MatrixView& x, const MatrixView& omega, double scale) {
  std::vector<double> exponents(x.rows * omega.rows);
  for (std::size_t i = 0; i < x.rows; ++i) {
    double square = 0;
    for (std::size_t c = 0; c < x.cols; ++c) square += std::pow(scale * x.row(i)[c], 2);
    for (std::size_t r = 0; r < omega.rows; ++r) {
      double dot = 0;
      for (std::size_t c = 0; c < x.cols; ++c) dot += scale * x.row(i)[c] * omega.row(r)[c];
      exponents[i * omega.rows + r] = dot - square / 2;
    }
  }
  return exponents;
}

std::vector<double> linear_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     const MatrixView& omega, double scale, double epsilon) {
  const std::size_t features = omega.rows;
  std::vector<double> of_q = favor_exponents(q, omega, scale);
  std::vector<double> of_k = favor_exponents(k, omega, scale);
  for (std::size_t i = 0; i < q.rows; ++i) {
    const auto row = of_q.begin() + static_cast<std::ptrdiff_t>(i * features);
    const double largest = *std::max_element(row, row + static_cast<std::ptrdiff_t>(features));
    for (std::size_t r = 0; r < features; ++r) {
      of_q[i * features + r] = std::exp(of_q[i * features + r] - largest) + epsilon;
    }
  }
  if (!of_k.empty()) {
    const double largest = *std::max_element(of_k.begin(), of_k.end());
    for (double& x : of_k) x = std::exp(x - largest) + epsilon;
  }
  std::vector<double> out(q.rows * v.cols);
  for (std::size_t i = 0; i < q.rows && k.rows > 0; ++i) {
    double total = 0;
    for (std::size_t j = 0; j < k.rows; ++j) {
      double weight = 0;
      for (std::size_t r = 0; r < features; ++r) {
        weight += of_q[i * features + r] * of_k[j * features + r];
      }
      total += weight;
      for (std::size_t c = 0; c < v.cols; ++c) out[i * v.cols + c] += weight * v.row(j)[c];
    }
    for (std::size_t c = 0; c < v.cols; ++c) out[i * v.cols + c] /= total;
  }
  return out;
}

}  // namespace halo::kernels::reference
