#include "halo/gnn/layer_norm.h"

#include <cassert>
#include <cmath>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsPerChunk = 256;

struct Moments {
  double mean = 0, deviation = 0;
};
Moments moments_of(const float* x, std::size_t d, float epsilon) {
  double sum = 0.0;
  for (std::size_t c = 0; c < d; ++c) sum += static_cast<double>(x[c]);
  const double mean = sum / static_cast<double>(d);
  double squares = 0.0;
  for (std::size_t c = 0; c < d; ++c) {
    const double centred = static_cast<double>(x[c]) - mean;
    squares += centred * centred;
  }
  return {mean, std::sqrt(squares / static_cast<double>(d) + static_cast<double>(epsilon))};
}

void normalise_row(float* x, std::size_t d, std::span<const float> gain,
                   std::span<const float> bias, float epsilon) {
  const Moments moments = moments_of(x, d, epsilon);
  for (std::size_t c = 0; c < d; ++c) {
    const double unit = (static_cast<double>(x[c]) - moments.mean) / moments.deviation;
    x[c] = static_cast<float>(unit) * gain[c] + bias[c];
  }
}

// With u the unit row and g = gain d: d_x = (g - mean(g) - u mean(g u)) / deviation.
void backward_row(const float* x, std::size_t cols, std::span<const float> gain, float epsilon,
                  float* d, double* d_gain, double* d_bias) {
  const Moments moments = moments_of(x, cols, epsilon);
  const auto unit = [&](std::size_t c) {
    return (static_cast<double>(x[c]) - moments.mean) / moments.deviation;
  };
  double mean = 0, mean_unit = 0;
  for (std::size_t c = 0; c < cols; ++c) {
    const double g = static_cast<double>(gain[c]) * d[c];
    mean += g;
    mean_unit += g * unit(c);
    d_gain[c] += d[c] * unit(c);
    d_bias[c] += d[c];
  }
  mean /= static_cast<double>(cols);
  mean_unit /= static_cast<double>(cols);
  for (std::size_t c = 0; c < cols; ++c) {
    const double g = static_cast<double>(gain[c]) * d[c];
    d[c] = static_cast<float>((g - mean - unit(c) * mean_unit) / moments.deviation);
  }
}

}  // namespace

void layer_norm(const MatrixSpan& x, std::span<const float> gain, std::span<const float> bias,
                float epsilon, const Executor& executor) {
  assert(gain.size() == x.cols && bias.size() == x.cols && epsilon > 0.0F);
  executor.parallel_for(x.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) normalise_row(x.row(i), x.cols, gain, bias, epsilon);
  });
}

void layer_norm_backward(const MatrixView& x, std::span<const float> gain, float epsilon,
                         const MatrixSpan& d, std::span<float> d_gain, std::span<float> d_bias,
                         const Executor& executor) {
  assert(gain.size() == x.cols && d_gain.size() == x.cols && d_bias.size() == x.cols);
  assert(d.rows == x.rows && d.cols == x.cols);
  const std::size_t chunks = (x.rows + kRowsPerChunk - 1) / kRowsPerChunk;
  std::vector<double> sums(chunks * 2 * x.cols, 0.0);  // per chunk: of the gain, of the bias
  executor.parallel_for(x.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    double* own = sums.data() + begin / kRowsPerChunk * 2 * x.cols;
    for (std::size_t i = begin; i < end; ++i) {
      backward_row(x.row(i), x.cols, gain, epsilon, d.row(i), own, own + x.cols);
    }
  });
  for (std::size_t c = 0; c < x.cols; ++c) {
    double of_gain = 0, of_bias = 0;
    for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
      of_gain += sums[chunk * 2 * x.cols + c];
      of_bias += sums[(chunk * 2 + 1) * x.cols + c];
    }
    d_gain[c] += static_cast<float>(of_gain);
    d_bias[c] += static_cast<float>(of_bias);
  }
}

void l2_normalise(const MatrixSpan& x, const Executor& executor) {
  executor.parallel_for(x.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) kernels::normalise(x.row(i), x.cols);
  });
}

void l2_normalise(const MatrixSpan& x, std::span<float> lengths, const Executor& executor) {
  assert(lengths.size() == x.rows);
  executor.parallel_for(x.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) lengths[i] = kernels::normalise(x.row(i), x.cols);
  });
}

void l2_normalise_backward(const MatrixView& y, std::span<const float> lengths, const MatrixSpan& d,
                           const Executor& executor) {
  assert(lengths.size() == y.rows && d.rows == y.rows && d.cols == y.cols);
  executor.parallel_for(y.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      kernels::axpy(-kernels::dot(y.row(i), d.row(i), y.cols), y.row(i), d.row(i), y.cols);
      kernels::scale(lengths[i] > 0 ? 1.0F / lengths[i] : 0.0F, d.row(i), y.cols);
    }
  });
}

}  // namespace halo::gnn
