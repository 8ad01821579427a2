#include "halo/gnn/layer_norm.h"

#include <cassert>
#include <cmath>

#include "halo/core/kernels/vector_ops.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsPerChunk = 256;

void normalise_row(float* x, std::size_t d, std::span<const float> gain,
                   std::span<const float> bias, float epsilon) {
  double sum = 0.0;
  for (std::size_t c = 0; c < d; ++c) sum += static_cast<double>(x[c]);
  const double mean = sum / static_cast<double>(d);
  double squares = 0.0;
  for (std::size_t c = 0; c < d; ++c) {
    const double centred = static_cast<double>(x[c]) - mean;
    squares += centred * centred;
  }
  const double deviation =
      std::sqrt(squares / static_cast<double>(d) + static_cast<double>(epsilon));
  for (std::size_t c = 0; c < d; ++c) {
    const double unit = (static_cast<double>(x[c]) - mean) / deviation;
    x[c] = static_cast<float>(unit) * gain[c] + bias[c];
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

void l2_normalise(const MatrixSpan& x, const Executor& executor) {
  executor.parallel_for(x.rows, kRowsPerChunk, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) kernels::normalise(x.row(i), x.cols);
  });
}

}  // namespace halo::gnn
