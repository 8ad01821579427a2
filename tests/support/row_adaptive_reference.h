// row_adaptive_attention.h's formula for one row, in double.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/matrix_view.h"

namespace halo::test {

/// sum_j a_j v_j over the rows j = columns of k and v, a the row-adaptive weights of query q.
inline std::vector<double> row_adaptive_row(const float* q, const MatrixView& k,
                                            const MatrixView& v,
                                            std::span<const std::uint32_t> columns,
                                            double sharpness) {
  std::vector<double> out(v.cols, 0.0), scores;
  for (const auto j : columns) {
    double s = 0;
    for (std::size_t d = 0; d < k.cols; ++d) s += double{q[d]} * double{k.row(j)[d]};
    scores.push_back(s);
  }
  if (scores.empty()) return out;
  const double best = *std::max_element(scores.begin(), scores.end());
  const double spread = std::max(best - *std::min_element(scores.begin(), scores.end()), 1e-4);
  double sum = 0;
  for (double& s : scores) sum += s = std::exp(sharpness * (s - best) / spread);
  for (std::size_t e = 0; e < scores.size(); ++e) {
    for (std::size_t d = 0; d < v.cols; ++d) out[d] += scores[e] / sum * v.row(columns[e])[d];
  }
  return out;
}

}  // namespace halo::test
