// How rows are shared out to threads, and windows of positions.
//
// Private to the room.
#pragma once

#include <cstddef>
#include <functional>

#include "halo/core/executor.h"

namespace halo::attention::detail {

/// Rows a chunk of dense attention holds over `keys` keys: as many as keep its logits within 1 MB,
/// from 4 to 64.
std::size_t dense_block(std::size_t keys);

/// Calls body(worker, item, begin, end) for every block of at most `block` of the n rows of every
/// item. The blocks depend on the shape only.
void for_each_block(const Executor& executor, std::size_t items, std::size_t n, std::size_t block,
                    const std::function<void(std::size_t worker, std::size_t item,
                                             std::size_t begin, std::size_t end)>& body);

/// An executor of one thread, for products inside a chunk and for calls without an executor.
const Executor& calling_thread();

/// [begin, end) of the window around position i, cut to [0, n); safe for any window.
struct Range {
  std::size_t begin, end;
};
inline Range window_of(std::size_t i, std::size_t window, std::size_t n) {
  return {i > window ? i - window : 0, window < n - i ? i + window + 1 : n};
}
/// The longest such range.
inline std::size_t longest_window(std::size_t n, std::size_t window) {
  return window < n / 2 ? 2 * window + 1 : n;
}

}  // namespace halo::attention::detail
