#include "halo/attention/tensor.h"

#include <algorithm>
#include <limits>
#include <string>

#include "halo/core/error.h"

namespace halo::attention {
namespace {

std::size_t rows_of(std::size_t batch, std::size_t n) {
  if (n != 0 && batch > std::numeric_limits<std::size_t>::max() / n) {
    throw Error(ErrorCode::kOutOfMemory, "a tensor of " + std::to_string(batch) + " x " +
                                             std::to_string(n) + " rows cannot be addressed");
  }
  return batch * n;
}

}  // namespace

Tensor::Tensor(std::size_t batch, std::size_t n, std::size_t dim)
    : batch_(batch), n_(n), rows_(rows_of(batch, n), dim) {}

Tensor Tensor::copy_of(const TensorView& view) {
  Tensor copy(view.batch, view.n, view.dim);
  const MatrixView from = view.flat();
  for (std::size_t i = 0; i < from.rows; ++i) {
    std::copy_n(from.row(i), from.cols, copy.data() + i * view.dim);
  }
  return copy;
}

}  // namespace halo::attention
