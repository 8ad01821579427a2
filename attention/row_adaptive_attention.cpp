#include "halo/attention/row_adaptive_attention.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention {
namespace {

constexpr float kSmallestSpread = 1e-4F;
constexpr std::size_t kRowsAtOnce = 64;

void require(bool holds, const char* what) {
  if (!holds)
    throw Error(ErrorCode::kDimensionMismatch, std::string("row_adaptive_attention: ") + what);
}

}  // namespace

void row_adaptive_weights(std::span<float> scores, float sharpness) {
  if (scores.empty()) return;
  const auto [lowest, highest] = std::minmax_element(scores.begin(), scores.end());
  const float scale = sharpness / std::max(*highest - *lowest, kSmallestSpread);
  const float best = *highest;
  float sum = 0;
  for (float& score : scores) sum += score = std::exp(scale * (score - best));
  for (float& score : scores) score /= sum;
}

void row_adaptive_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                            const CsrView& mask, float sharpness, const MatrixSpan& out,
                            const Executor& executor) {
  require(q.cols == k.cols, "queries and keys differ in dimension");
  require(k.rows == v.rows && mask.num_columns == k.rows, "keys, values and mask columns differ");
  require(mask.rows() == q.rows && out.rows == q.rows && out.cols == v.cols,
          "queries, mask rows and output differ");
  executor.parallel_for(q.rows, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<float> weights;
    for (std::size_t i = begin; i < end; ++i) {
      const auto columns = mask.row(i);
      weights.resize(columns.size());
      kernels::dot_rows(q.row(i), k.data, k.stride, columns.data(), columns.size(), q.cols,
                        weights.data());
      row_adaptive_weights(weights, sharpness);
      std::fill_n(out.row(i), out.cols, 0.0F);
      for (std::size_t e = 0; e < columns.size(); ++e) {
        kernels::axpy(weights[e], v.row(columns[e]), out.row(i), out.cols);
      }
    }
  });
}

}  // namespace halo::attention
