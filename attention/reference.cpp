#include "halo/attention/reference.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace halo::attention::reference {
namespace {

// may_attend(i, j): whether row i reads key j.
template <class MayAttend>
std::vector<double> attend(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                           double scale, MayAttend may_attend) {
  std::vector<double> out(q.rows * v.cols, 0.0);
  std::vector<double> logits(k.rows);
  for (std::size_t i = 0; i < q.rows; ++i) {
    double largest = -HUGE_VAL;
    for (std::size_t j = 0; j < k.rows; ++j) {
      logits[j] = -HUGE_VAL;
      if (!may_attend(i, j)) continue;
      double dot = 0.0;
      for (std::size_t c = 0; c < q.cols; ++c) {
        dot += static_cast<double>(q.row(i)[c]) * static_cast<double>(k.row(j)[c]);
      }
      logits[j] = scale * dot;
      largest = std::max(largest, logits[j]);
    }
    if (largest == -HUGE_VAL) continue;
    double sum = 0.0;
    for (double& logit : logits) sum += logit = std::exp(logit - largest);
    for (std::size_t j = 0; j < k.rows; ++j) {
      for (std::size_t c = 0; c < v.cols; ++c) {
        out[i * v.cols + c] += logits[j] / sum * static_cast<double>(v.row(j)[c]);
      }
    }
  }
  return out;
}

}  // namespace

std::vector<double> standard_attention(const MatrixView& q, const MatrixView& k,
                                       const MatrixView& v, double scale) {
  return attend(q, k, v, scale, [](std::size_t, std::size_t) { return true; });
}

std::vector<double> csr_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                  const CsrView& mask, double scale) {
  return attend(q, k, v, scale, [&](std::size_t i, std::size_t j) {
    const auto row = mask.row(i);
    return std::find(row.begin(), row.end(), j) != row.end();
  });
}

std::vector<double> window_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     std::size_t window, double scale) {
  return attend(q, k, v, scale,
                [&](std::size_t i, std::size_t j) { return (i > j ? i - j : j - i) <= window; });
}

std::vector<double> global_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                                     std::span<const std::uint32_t> indices, double scale) {
  const std::set<std::size_t> keys(indices.begin(), indices.end());
  return attend(q, k, v, scale, [&](std::size_t, std::size_t j) { return keys.contains(j); });
}

}  // namespace halo::attention::reference
