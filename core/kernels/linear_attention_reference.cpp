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

namespace {

// Stabilised features [n, k]: e^(exponent - shift) + epsilon, queries shifted by their row's
// largest exponent, keys by the largest of all.
struct Features {
  std::vector<double> of_q, of_k;
};

void exponentiate(double* x, std::size_t count, double epsilon) {
  if (count == 0) return;
  const double largest = *std::max_element(x, x + count);
  for (std::size_t i = 0; i < count; ++i) x[i] = std::exp(x[i] - largest) + epsilon;
}

Features features_of(const MatrixView& q, const MatrixView& k, const MatrixView& omega,
                     double scale, double epsilon) {
  Features f{favor_exponents(q, omega, scale), favor_exponents(k, omega, scale)};
  for (std::size_t i = 0; i < q.rows; ++i) {
    exponentiate(f.of_q.data() + i * omega.rows, omega.rows, epsilon);
  }
  exponentiate(f.of_k.data(), f.of_k.size(), epsilon);
  return f;
}

double dot(const double* x, const double* y, std::size_t d) {
  double sum = 0;
  for (std::size_t i = 0; i < d; ++i) sum += x[i] * y[i];
  return sum;
}

// The gradient of the rows x from the gradients of their features, whose exponents fall by
// `norms` |scale x|^2 / 2: 0 for queries, whose shift cancels it.
std::vector<double> through_features(const MatrixView& x, const MatrixView& omega, double scale,
                                     double norms, double epsilon,
                                     const std::vector<double>& features,
                                     const std::vector<double>& slopes) {
  std::vector<double> d_x(x.rows * x.cols);
  for (std::size_t i = 0; i < x.rows; ++i) {
    for (std::size_t r = 0; r < omega.rows; ++r) {
      const std::size_t at = i * omega.rows + r;
      const double slope = slopes[at] * (features[at] - epsilon);
      for (std::size_t c = 0; c < x.cols; ++c) {
        d_x[i * x.cols + c] +=
            slope * (scale * omega.row(r)[c] - norms * scale * scale * x.row(i)[c]);
      }
    }
  }
  return d_x;
}

}  // namespace

std::vector<double> linear_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     const MatrixView& omega, double scale, double epsilon) {
  const std::size_t features = omega.rows;
  const Features f = features_of(q, k, omega, scale, epsilon);
  std::vector<double> out(q.rows * v.cols);
  for (std::size_t i = 0; i < q.rows && k.rows > 0; ++i) {
    double total = 0;
    for (std::size_t j = 0; j < k.rows; ++j) {
      const double weight =
          dot(f.of_q.data() + i * features, f.of_k.data() + j * features, features);
      total += weight;
      for (std::size_t c = 0; c < v.cols; ++c) out[i * v.cols + c] += weight * v.row(j)[c];
    }
    for (std::size_t c = 0; c < v.cols; ++c) out[i * v.cols + c] /= total;
  }
  return out;
}

LinearAttentionGradients linear_attention_backward(const MatrixView& q, const MatrixView& k,
                                                   const MatrixView& v, const MatrixView& omega,
                                                   double scale, double epsilon,
                                                   const MatrixView& d_out) {
  const std::size_t features = omega.rows;
  const Features f = features_of(q, k, omega, scale, epsilon);
  LinearAttentionGradients g;
  g.v.resize(v.rows * v.cols);
  std::vector<double> by_q(q.rows * features), by_k(k.rows * features);
  std::vector<double> weights(k.rows), slopes(k.rows);
  for (std::size_t i = 0; i < q.rows && k.rows > 0; ++i) {
    double total = 0, mean = 0;
    for (std::size_t j = 0; j < k.rows; ++j) {
      weights[j] = dot(f.of_q.data() + i * features, f.of_k.data() + j * features, features);
      slopes[j] = 0;
      for (std::size_t c = 0; c < v.cols; ++c) slopes[j] += double{d_out.row(i)[c]} * v.row(j)[c];
      total += weights[j];
      mean += weights[j] * slopes[j];
    }
    for (std::size_t j = 0; j < k.rows; ++j) {
      const double by_weight = (slopes[j] - mean / total) / total;
      for (std::size_t c = 0; c < v.cols; ++c) {
        g.v[j * v.cols + c] += weights[j] / total * d_out.row(i)[c];
      }
      for (std::size_t r = 0; r < features; ++r) {
        by_q[i * features + r] += by_weight * f.of_k[j * features + r];
        by_k[j * features + r] += by_weight * f.of_q[i * features + r];
      }
    }
  }
  g.q = through_features(q, omega, scale, 0.0, epsilon, f.of_q, by_q);
  g.k = through_features(k, omega, scale, 1.0, epsilon, f.of_k, by_k);
  return g;
}

}  // namespace halo::kernels::reference
