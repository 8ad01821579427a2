#include "halo/attention/row_adaptive_attention.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "halo/core/error.h"
#include "halo/core/kernels/graph_attention.h"

namespace halo::attention {
namespace {

void require(bool holds, const char* what) {
  if (!holds)
    throw Error(ErrorCode::kDimensionMismatch, std::string("row_adaptive_attention: ") + what);
}

}  // namespace

void row_adaptive_weights(std::span<float> scores, float sharpness) {
  if (scores.empty()) return;
  const auto [lowest, highest] = std::minmax_element(scores.begin(), scores.end());
  const float scale = sharpness / std::max(*highest - *lowest, kernels::kSmallestSpread);
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
  kernels::graph_attention_forward(q, k, v, mask, {.heads = 1, .sharpness = sharpness}, out, {},
                                   executor);
}

}  // namespace halo::attention
