// One head's attention for a block of rows: the inner loops that the bare kernels and the layers
// share.
//
// Private to the room. q, k, v and out are the views of one head; out rows are overwritten and must
// not alias q, k or v. Shapes are asserted, not checked. Thread-safe: all state is in `scratch`.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::attention::detail {

/// Rows a chunk holds where a row's work is small (windows, masks).
inline constexpr std::size_t kRowBlock = 64;

/// Rows a chunk of dense attention holds over `keys` keys: as many as keep its logits within 1 MB,
/// from 4 to kRowBlock.
std::size_t dense_block(std::size_t keys);

/// Calls body(worker, item, begin, end) for every block of at most `block` of the n rows of every
/// item. The blocks depend on the shape only.
void for_each_block(const Executor& executor, std::size_t items, std::size_t n, std::size_t block,
                    const std::function<void(std::size_t worker, std::size_t item,
                                             std::size_t begin, std::size_t end)>& body);

/// An executor of one thread, for products inside a chunk and for calls without an executor.
const Executor& calling_thread();

/// out = softmax(scale q k^T) v for at most dense_block(k.rows) rows of q. `scratch` holds q.rows x
/// k.rows floats. No keys: zeros.
void dense_rows(const MatrixView& q, const MatrixView& k, const MatrixView& v, float scale,
                const MatrixSpan& out, float* scratch);

/// One query over the keys [begin, end). `scratch` holds end - begin floats.
void window_row(const float* q, const MatrixView& k, const MatrixView& v, std::size_t begin,
                std::size_t end, float scale, float* out, float* scratch);

/// One query over the keys `columns`. `scratch` holds columns.size() floats. None: zeros.
void columns_row(const float* q, const MatrixView& k, const MatrixView& v,
                 std::span<const std::uint32_t> columns, float scale, float* out, float* scratch);

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
