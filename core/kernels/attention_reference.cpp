#include "halo/core/kernels/attention_reference.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace halo::kernels::reference {
namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

double dot(const float* a, const float* b, std::size_t d) {
  double sum = 0;
  for (std::size_t i = 0; i < d; ++i) sum += double{a[i]} * double{b[i]};
  return sum;
}

// The softmax of row i, 0 for the keys it does not see; returns the log of its sum.
double probabilities(const MatrixView& q, const MatrixView& k, double scale, const Allowed& allowed,
                     std::size_t i, std::vector<double>& p) {
  p.assign(k.rows, kNone);
  for (std::size_t j = 0; j < k.rows; ++j) {
    if (allowed(i, j)) p[j] = scale * dot(q.row(i), k.row(j), q.cols);
  }
  double largest = kNone, sum = 0;
  for (const double s : p) largest = std::max(largest, s);
  if (largest == kNone) {
    std::fill(p.begin(), p.end(), 0.0);
    return kNone;
  }
  for (double& s : p) sum += s = std::exp(s - largest);
  for (double& s : p) s /= sum;
  return largest + std::log(sum);
}

}  // namespace

Attention attention(const MatrixView& q, const MatrixView& k, const MatrixView& v, double scale,
                    const Allowed& allowed) {
  Attention result{std::vector<double>(q.rows * v.cols), std::vector<double>(q.rows)};
  std::vector<double> p;
  for (std::size_t i = 0; i < q.rows; ++i) {
    result.lse[i] = probabilities(q, k, scale, allowed, i, p);
    for (std::size_t j = 0; j < k.rows; ++j) {
      for (std::size_t c = 0; c < v.cols; ++c) result.out[i * v.cols + c] += p[j] * v.row(j)[c];
    }
  }
  return result;
}

AttentionGradients attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                      double scale, const Allowed& allowed,
                                      const MatrixView& d_out) {
  const std::size_t d = q.cols;
  AttentionGradients g{std::vector<double>(q.rows * d), std::vector<double>(k.rows * d),
                       std::vector<double>(v.rows * v.cols)};
  std::vector<double> p, d_p(k.rows);
  for (std::size_t i = 0; i < q.rows; ++i) {
    probabilities(q, k, scale, allowed, i, p);
    double mean = 0;
    for (std::size_t j = 0; j < k.rows; ++j) {
      d_p[j] = dot(d_out.row(i), v.row(j), v.cols);
      mean += p[j] * d_p[j];
      for (std::size_t c = 0; c < v.cols; ++c) g.v[j * v.cols + c] += p[j] * d_out.row(i)[c];
    }
    for (std::size_t j = 0; j < k.rows; ++j) {
      const double d_score = scale * p[j] * (d_p[j] - mean);
      for (std::size_t c = 0; c < d; ++c) {
        g.q[i * d + c] += d_score * k.row(j)[c];
        g.k[j * d + c] += d_score * q.row(i)[c];
      }
    }
  }
  return g;
}

}  // namespace halo::kernels::reference
