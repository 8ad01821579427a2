#include "halo/core/kernels/favor_features.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/softmax.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::kernels {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// Keys are summed in at most this many parts.
constexpr std::size_t kParts = 32;

// What runs inside a parallel body stays on its thread.
const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

// The sums of some keys, epsilon left out.
struct Part {
  Matrix values;
  std::vector<float> ones;
  std::vector<float> plain;  // sum_j v_j: [dv]
  float max = kNone;

  Part(std::size_t features, std::size_t dv)
      : values(Matrix::padded(features, dv)), ones(features), plain(dv) {}

  // Moves the common shift up to `to`.
  void raise(float to) {
    if (to <= max) return;
    const float factor = max == kNone ? 0.0F : std::exp(max - to);
    for (std::size_t r = 0; r < values.rows(); ++r) scale(factor, values.row(r), values.cols());
    scale(factor, ones.data(), ones.size());
    max = to;
  }

  void add(const MatrixView& block_values, float factor) {
    for (std::size_t r = 0; r < values.rows(); ++r) {
      axpy(factor, block_values.row(r), values.row(r), values.cols());
    }
  }
};

// Keys [begin, end).
void sum_part(const MatrixView& k, const MatrixView& v, const PackedMatrix& omega_t, float scale_k,
              std::size_t begin, std::size_t end, Part& sums) {
  const std::size_t features = omega_t.cols();
  Matrix phi = Matrix::padded(kFeatureBlock, features);
  Matrix block_values = Matrix::padded(features, v.cols);
  std::vector<float> shift(kFeatureBlock);
  for (std::size_t b = begin; b < end; b += kFeatureBlock) {
    const std::size_t count = std::min(kFeatureBlock, end - b);
    const MatrixSpan rows = phi.span().sub_rows(0, count);
    stabilised_features(k.sub_rows(b, count), omega_t, scale_k, rows, shift.data());
    sums.raise(
        *std::max_element(shift.begin(), shift.begin() + static_cast<std::ptrdiff_t>(count)));
    for (std::size_t i = 0; i < count; ++i) {
      scale(std::exp(shift[i] - sums.max), rows.row(i), features);
      axpy(1.0F, rows.row(i), sums.ones.data(), features);
      axpy(1.0F, v.row(b + i), sums.plain.data(), v.cols);
    }
    gemm_tn(rows, v.sub_rows(b, count), block_values, calling_thread());
    sums.add(block_values, 1.0F);
  }
}

}  // namespace

void stabilised_features(const MatrixView& x, const PackedMatrix& omega_t, float scale_x,
                         const MatrixSpan& phi, float* shift) {
  gemm(x, omega_t, phi, calling_thread());
  for (std::size_t i = 0; i < x.rows; ++i) {
    float* row = phi.row(i);
    scale(scale_x, row, phi.cols);
    const float largest = row_max(row, phi.cols);
    exponentials(row, phi.cols, largest);
    shift[i] = largest - 0.5F * scale_x * scale_x * dot(x.row(i), x.row(i), x.cols);
  }
}

void favor_features(const MatrixView& x, const PackedMatrix& omega_t, float scale_x,
                    const MatrixSpan& phi, std::span<float> shift, const Executor& executor) {
  assert(x.cols == omega_t.rows() && phi.rows == x.rows && phi.cols == omega_t.cols());
  assert(shift.size() == x.rows);
  const float share = 1.0F / std::sqrt(static_cast<float>(std::max<std::size_t>(phi.cols, 1)));
  executor.parallel_for(x.rows, kFeatureBlock, [&](std::size_t begin, std::size_t end) {
    const MatrixSpan rows = phi.sub_rows(begin, end - begin);
    stabilised_features(x.sub_rows(begin, end - begin), omega_t, scale_x, rows,
                        shift.data() + begin);
    for (std::size_t i = 0; i < rows.rows; ++i) scale(share, rows.row(i), rows.cols);
  });
}

std::size_t rows_a_part(std::size_t rows) {
  const std::size_t blocks = (rows + kFeatureBlock - 1) / kFeatureBlock;
  return std::max<std::size_t>((blocks + kParts - 1) / kParts, 1) * kFeatureBlock;
}

KeySums sum_keys(const MatrixView& k, const MatrixView& v, const PackedMatrix& omega_t, float scale,
                 float epsilon, const Executor& executor) {
  assert(k.rows > 0 && k.cols == omega_t.rows() && v.rows == k.rows);
  const std::size_t features = omega_t.cols(), part = rows_a_part(k.rows);
  std::vector<Part> parts;
  for (std::size_t p = 0; p < k.rows; p += part) parts.emplace_back(features, v.cols);
  executor.parallel_for(k.rows, part, [&](std::size_t begin, std::size_t end) {
    sum_part(k, v, omega_t, scale, begin, end, parts[begin / part]);
  });
  Part& sums = parts.front();
  for (std::size_t p = 1; p < parts.size(); ++p) {
    sums.raise(parts[p].max);
    const float factor = std::exp(parts[p].max - sums.max);
    sums.add(parts[p].values, factor);
    axpy(factor, parts[p].ones.data(), sums.ones.data(), features);
    axpy(1.0F, parts[p].plain.data(), sums.plain.data(), v.cols);
  }
  // epsilon of every key's every feature.
  for (std::size_t r = 0; r < features; ++r) {
    axpy(epsilon, sums.plain.data(), sums.values.row(r), v.cols);
    sums.ones[r] += epsilon * static_cast<float>(k.rows);
  }
  return {std::move(sums.values), std::move(sums.ones), sums.max};
}

}  // namespace halo::kernels
