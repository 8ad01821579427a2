#include "halo/gnn/train/info_nce.h"

#include <cmath>
#include <limits>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/softmax.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 16;

struct RowSums {
  double loss = 0, d_log_scale = 0;
};

// The logits of one row become its softmax minus its target: the gradient by the logits, before the
// mean over anchors.
RowSums row_gradient(float* logits, std::size_t i, std::span<const std::uint32_t> groups,
                     std::size_t positives) {
  const std::size_t n = groups.size();
  std::vector<float> probability(logits, logits + n);
  probability[i] = -std::numeric_limits<float>::infinity();
  const float lse = kernels::softmax_lse(probability.data(), n);
  const float share = 1.0F / static_cast<float>(positives);
  RowSums sums;
  for (std::size_t j = 0; j < n; ++j) {
    const bool positive = j != i && groups[j] == groups[i];
    const float slope = probability[j] - (positive ? share : 0.0F);
    if (positive) sums.loss += static_cast<double>(share) * (lse - logits[j]);
    if (j != i) sums.d_log_scale += static_cast<double>(slope) * logits[j];
    logits[j] = j == i ? 0.0F : slope;
  }
  return sums;
}

}  // namespace

InfoNce supervised_info_nce(const MatrixView& z, std::span<const std::uint32_t> groups,
                            float log_scale, const MatrixSpan& d_z, const Executor& executor) {
  if (groups.size() != z.rows || d_z.rows != z.rows || d_z.cols != z.cols) {
    throw Error(ErrorCode::kDimensionMismatch, "InfoNCE: rows, groups and gradient differ");
  }
  const std::size_t n = z.rows;
  const float scale = std::exp(log_scale);
  Matrix slopes(n, n);
  kernels::gemm_nt(z, z, slopes, executor);
  std::vector<RowSums> sums(n);
  std::vector<std::size_t> positives(n, 0);
  executor.parallel_for(n, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (std::size_t j = 0; j < n; ++j) positives[i] += j != i && groups[j] == groups[i];
      float* row = slopes.row(i);
      for (std::size_t j = 0; j < n; ++j) row[j] = positives[i] == 0 ? 0.0F : scale * row[j];
      if (positives[i] > 0) sums[i] = row_gradient(row, i, groups, positives[i]);
    }
  });
  InfoNce result;
  for (std::size_t i = 0; i < n; ++i) {
    result.loss += sums[i].loss;
    result.d_log_scale += sums[i].d_log_scale;
    result.anchors += positives[i] > 0;
  }
  const double mean = result.anchors > 0 ? 1.0 / static_cast<double>(result.anchors) : 0.0;
  result.loss *= mean;
  result.d_log_scale *= mean;
  // <z_i, z_j> is a logit of row i and of row j.
  const auto factor = static_cast<float>(scale * mean);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      const float both = factor * (slopes.row(i)[j] + slopes.row(j)[i]);
      slopes.row(i)[j] = slopes.row(j)[i] = both;
    }
  }
  kernels::gemm(slopes, z, d_z, executor);
  return result;
}

}  // namespace halo::gnn
