// What a forward pass leaves for its backward pass: Q, K and V, the heads' outputs, and one number
// a row and head from which probabilities are recomputed. Nothing is n x n.
//
// Thread-safety: one pass at a time may use one object. Kept between steps of one shape, it
// allocates once. A backward pass reads what the last forward pass with the same object left, and
// may run once or several times.
#pragma once

#include <cstddef>
#include <memory>

namespace halo::attention {

namespace detail {
struct SavedState;
}

class SavedForward {
 public:
  SavedForward();
  ~SavedForward();
  SavedForward(SavedForward&&) noexcept;
  SavedForward& operator=(SavedForward&&) noexcept;

  /// Everything held at the moment, the backward pass's own buffers included.
  std::size_t bytes() const;

  /// For the attention layers.
  detail::SavedState& state() { return *state_; }

 private:
  std::unique_ptr<detail::SavedState> state_;
};

}  // namespace halo::attention
