#include "halo/core/byte_matrix.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>
#include <string>

#include "halo/core/error.h"

namespace halo {
namespace {
constexpr std::size_t kLine = 64;
constexpr float kSteps = 127.0F;
}  // namespace

ByteMatrix::ByteMatrix(std::size_t rows, std::size_t cols)
    : cols_(cols), stride_((cols + kLine - 1) / kLine * kLine) {
  const std::size_t most = SIZE_MAX / 2 / (stride_ + sizeof(float));
  if (rows > most) {
    throw Error(ErrorCode::kOutOfMemory, "a matrix of more bytes than an address has");
  }
  try {
    scales_.resize(rows, 0.0F);
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory, "no memory for the scales of a matrix");
  }
  if (rows == 0 || cols == 0) return;
  values_.reset(static_cast<std::int8_t*>(allocate_aligned(rows * stride_)));
  if (!values_) {
    throw Error(ErrorCode::kOutOfMemory,
                "no memory for " + std::to_string(rows * stride_) + " bytes");
  }
  std::memset(values_.get(), 0, rows * stride_);
}

ByteMatrix ByteMatrix::quantised(const MatrixView& view) {
  ByteMatrix bytes(view.rows, view.cols);
  for (std::size_t i = 0; i < view.rows; ++i) {
    float largest = 0.0F;
    for (const float x : view.row_span(i)) largest = std::max(largest, std::fabs(x));
    const float scale = largest / kSteps;
    if (!(scale > 0.0F)) continue;
    bytes.scales_[i] = scale;
    std::int8_t* out = bytes.row(i);
    for (std::size_t c = 0; c < view.cols; ++c) {
      const float steps = std::clamp(view.row(i)[c] / scale, -kSteps, kSteps);
      out[c] = static_cast<std::int8_t>(std::lrintf(steps));
    }
  }
  return bytes;
}

void ByteMatrix::set_row(std::size_t i, const ByteMatrix& other, std::size_t from) {
  std::memcpy(row(i), other.row(from), stride_);
  scales_[i] = other.scales_[from];
}

void ByteMatrix::copy_row(std::size_t i, float* out) const {
  const std::int8_t* source = row(i);
  const float scale = scales_[i];
  for (std::size_t c = 0; c < cols_; ++c) out[c] = scale * static_cast<float>(source[c]);
}

}  // namespace halo
