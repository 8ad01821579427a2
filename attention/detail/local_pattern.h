// Who attends to whom locally: a window of positions or a mask, owned or borrowed, and the mask's
// edges by column, which only backward passes need.
//
// Private to the room. Thread-safety: read-only; the edges by column are made once, by whoever asks
// first.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>

#include "halo/core/csr_mask.h"
#include "halo/core/kernels/graph_attention.h"

namespace halo::attention::detail {

class LocalPattern {
 public:
  explicit LocalPattern(std::size_t window) : window_(window) {}
  explicit LocalPattern(std::shared_ptr<const CsrMask> mask)
      : owner_(std::move(mask)), view_(*owner_), masked_(true) {}
  /// Borrowed: must outlive the pattern.
  explicit LocalPattern(const CsrView& mask) : view_(mask), masked_(true) {}

  /// Null where the pattern is a window.
  const CsrView* mask() const { return masked_ ? &view_ : nullptr; }
  const std::shared_ptr<const CsrMask>& owned_mask() const { return owner_; }
  std::size_t window() const { return window_; }
  /// Of the mask; O(entries + columns) the first time.
  const kernels::TransposedEdges& edges() const {
    std::call_once(once_, [this] { edges_ = kernels::transposed_edges(view_); });
    return edges_;
  }

 private:
  std::shared_ptr<const CsrMask> owner_;
  CsrView view_;
  std::size_t window_ = 0;
  bool masked_ = false;
  mutable std::once_flag once_;
  mutable kernels::TransposedEdges edges_;
};

}  // namespace halo::attention::detail
