#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "halo/core/error.h"
#include "halo/core/matrix_view.h"

namespace halo {

Matrix::Matrix(std::size_t rows, std::size_t cols, std::size_t stride) {
  constexpr std::size_t kMaxFloats =
      std::numeric_limits<std::ptrdiff_t>::max() / sizeof(float) - 16;
  if (stride != 0 && rows > kMaxFloats / stride) {
    throw Error(ErrorCode::kOutOfMemory, "a matrix of " + std::to_string(rows) + " x " +
                                             std::to_string(cols) + " floats cannot be addressed");
  }
  const std::size_t bytes = (rows * stride * sizeof(float) + 63) / 64 * 64;
  if (bytes != 0) {
    storage_.reset(static_cast<float*>(std::aligned_alloc(64, bytes)));
    if (!storage_) {
      throw Error(ErrorCode::kOutOfMemory,
                  "cannot allocate " + std::to_string(bytes) + " bytes for a matrix");
    }
    std::memset(storage_.get(), 0, bytes);
  }
  view_ = {storage_.get(), rows, cols, stride};
}

Matrix Matrix::copy_of(MatrixView view) {
  Matrix copy(view.rows, view.cols);
  for (std::size_t i = 0; i < view.rows; ++i) {
    std::copy_n(view.row(i), view.cols, copy.row(i));
  }
  return copy;
}

}  // namespace halo
