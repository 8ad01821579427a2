#include "halo/core/kernels/linear_attention.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/softmax.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::kernels {
namespace {

constexpr float kNone = -std::numeric_limits<float>::infinity();
// Rows whose features exist at one time in one thread.
constexpr std::size_t kBlock = 128;
// Keys are summed in at most this many parts, so that memory does not grow with them.
constexpr std::size_t kParts = 32;

// What runs inside a parallel body stays on its thread.
const Executor& calling_thread() {
  static const Executor executor(1);
  return executor;
}

// Stabilised features without 1 / sqrt(k), and their shifts.
void features_of(const MatrixView& x, const PackedMatrix& omega_t, float scale_x,
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

// sum_j e^(exponents_j - max) v_j for every feature, and the same sums of 1: [k, dv] and [k].
struct KeySums {
  Matrix values;
  std::vector<float> ones;
  std::vector<float> plain;  // sum_j v_j: [dv]
  float max = kNone;

  KeySums(std::size_t features, std::size_t dv)
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
void sum_keys(const MatrixView& k, const MatrixView& v, const PackedMatrix& omega_t, float scale_k,
              std::size_t begin, std::size_t end, KeySums& sums) {
  const std::size_t features = omega_t.cols();
  Matrix phi = Matrix::padded(kBlock, features), block_values = Matrix::padded(features, v.cols);
  std::vector<float> shift(kBlock);
  for (std::size_t b = begin; b < end; b += kBlock) {
    const std::size_t count = std::min(kBlock, end - b);
    const MatrixSpan rows = phi.span().sub_rows(0, count);
    features_of(k.sub_rows(b, count), omega_t, scale_k, rows, shift.data());
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

void favor_features(const MatrixView& x, const PackedMatrix& omega_t, float scale_x,
                    const MatrixSpan& phi, std::span<float> shift, const Executor& executor) {
  assert(x.cols == omega_t.rows() && phi.rows == x.rows && phi.cols == omega_t.cols());
  assert(shift.size() == x.rows);
  const float share = 1.0F / std::sqrt(static_cast<float>(std::max<std::size_t>(phi.cols, 1)));
  executor.parallel_for(x.rows, kBlock, [&](std::size_t begin, std::size_t end) {
    const MatrixSpan rows = phi.sub_rows(begin, end - begin);
    features_of(x.sub_rows(begin, end - begin), omega_t, scale_x, rows, shift.data() + begin);
    for (std::size_t i = 0; i < rows.rows; ++i) scale(share, rows.row(i), rows.cols);
  });
}

void linear_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const PackedMatrix& omega_t, const LinearAttentionOptions& options,
                              const MatrixSpan& out, const Executor& executor) {
  assert(q.cols == omega_t.rows() && k.cols == q.cols && v.rows == k.rows && omega_t.cols() > 0);
  assert(out.rows == q.rows && out.cols == v.cols);
  if (k.rows == 0) {
    for (std::size_t i = 0; i < out.rows; ++i) std::fill_n(out.row(i), out.cols, 0.0F);
    return;
  }
  const std::size_t features = omega_t.cols();
  // The parts depend on the number of keys only.
  const std::size_t blocks = (k.rows + kBlock - 1) / kBlock;
  const std::size_t part = (blocks + kParts - 1) / kParts * kBlock;
  std::vector<KeySums> parts;
  for (std::size_t p = 0; p < k.rows; p += part) parts.emplace_back(features, v.cols);
  executor.parallel_for(k.rows, part, [&](std::size_t begin, std::size_t end) {
    sum_keys(k, v, omega_t, options.scale, begin, end, parts[begin / part]);
  });

  KeySums& sums = parts.front();
  for (std::size_t p = 1; p < parts.size(); ++p) {
    sums.raise(parts[p].max);
    const float factor = std::exp(parts[p].max - sums.max);
    sums.add(parts[p].values, factor);
    axpy(factor, parts[p].ones.data(), sums.ones.data(), features);
    axpy(1.0F, parts[p].plain.data(), sums.plain.data(), v.cols);
  }
  // epsilon of every key's every feature.
  for (std::size_t r = 0; r < features; ++r) {
    axpy(options.epsilon, sums.plain.data(), sums.values.row(r), v.cols);
    sums.ones[r] += options.epsilon * static_cast<float>(k.rows);
  }
  const PackedMatrix values = pack(sums.values);
  executor.parallel_for(q.rows, kBlock, [&](std::size_t begin, std::size_t end) {
    const std::size_t count = end - begin;
    Matrix phi = Matrix::padded(count, features);
    std::vector<float> shift(count);
    features_of(q.sub_rows(begin, count), omega_t, options.scale, phi, shift.data());
    for (std::size_t i = 0; i < count; ++i) {
      for (std::size_t r = 0; r < features; ++r) phi.row(i)[r] += options.epsilon;
    }
    const MatrixSpan rows = out.sub_rows(begin, count);
    gemm(phi, values, rows, calling_thread());
    for (std::size_t i = 0; i < count; ++i) {
      scale(1.0F / dot(phi.row(i), sums.ones.data(), features), rows.row(i), rows.cols);
    }
  });
}

}  // namespace halo::kernels
