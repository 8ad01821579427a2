#include "halo/attention/saved_forward.h"

#include <string>

#include "halo/attention/detail/saved_state.h"
#include "halo/core/error.h"

namespace halo::attention {

SavedForward::SavedForward() : state_(std::make_unique<detail::SavedState>()) {}
SavedForward::~SavedForward() = default;
SavedForward::SavedForward(SavedForward&&) noexcept = default;
SavedForward& SavedForward::operator=(SavedForward&&) noexcept = default;

std::size_t SavedForward::bytes() const { return state_->bytes(); }

namespace detail {
namespace {

std::string shape(std::size_t batch, std::size_t n, std::size_t dim) {
  return std::to_string(batch) + " x " + std::to_string(n) + " x " + std::to_string(dim);
}

void check_shape(const char* what, const TensorView& got, const TensorView& x) {
  if (got.batch != x.batch || got.n != x.n || got.dim != x.dim) {
    throw Error(ErrorCode::kDimensionMismatch, std::string("attention: ") + what + " is " +
                                                   shape(got.batch, got.n, got.dim) +
                                                   ", the input " + shape(x.batch, x.n, x.dim));
  }
}

}  // namespace

std::size_t SavedState::bytes() const {
  std::size_t floats = lse.size() + global_lse.size() + edge_weights.capacity();
  for (const Matrix* m : {&qkv, &mixed, &local, &global, &global_rows, &d_mixed, &d_qkv, &d_global,
                          &d_query, &d_global_rows, &slopes}) {
    floats += m->rows() * m->stride();
  }
  return floats * sizeof(float);
}

void check_backward(const SavedState& state, const void* owner, const TensorView& x,
                    const TensorView& d_out, const TensorSpan* d_x) {
  if (state.owner != owner || state.batch != x.batch || state.n != x.n) {
    throw Error(
        ErrorCode::kInvalidArgument,
        "attention: backward needs what a forward pass of this layer over this input saved");
  }
  check_shape("the output's gradient", d_out, x);
  if (d_x != nullptr) check_shape("the input's gradient", *d_x, x);
}

}  // namespace detail
}  // namespace halo::attention
