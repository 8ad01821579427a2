// How flash attention's passes are cut into heads and blocks of columns, one workspace a thread.
//
// Private to flash_attention.cpp and flash_attention_backward.cpp. Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>

#include "halo/core/aligned_memory.h"
#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/flash_attention.h"
#include "halo/core/kernels/flash_shapes.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels::flash_detail {

// An empty matrix has no data to point into.
template <class T>
T* columns_from(T* data, std::size_t column) {
  return data == nullptr ? nullptr : data + column;
}

inline Rows<float> head_of(const MatrixView& m, std::size_t head, std::size_t heads) {
  const std::size_t cols = m.cols / heads;
  return {columns_from(m.data, head * cols), m.stride, m.rows, cols};
}
inline Rows<Bf16> head_of(const HalfView& m, std::size_t head, std::size_t heads) {
  const std::size_t cols = m.cols / heads;
  return {columns_from(m.data, head * cols), m.stride, m.rows, cols};
}

template <class Keys>
void check([[maybe_unused]] const MatrixView& q, [[maybe_unused]] const Keys& k,
           [[maybe_unused]] const Keys& v, [[maybe_unused]] const FlashOptions& options) {
  assert(options.heads > 0 && q.cols % options.heads == 0 && v.cols % options.heads == 0);
  assert(k.cols == q.cols && v.rows == k.rows);
  assert(options.window == FlashOptions::kNoWindow || q.rows == k.rows);
}

// A window wider than the sequence is none.
inline std::size_t window_of(const FlashOptions& options, std::size_t n) {
  return options.window < n ? options.window : FlashOptions::kNoWindow;
}

// Runs body(head, begin, end, workspace) over blocks of `at_once` columns of every head.
template <class Body>
void for_each_block(std::size_t heads, std::size_t columns, std::size_t at_once, std::size_t floats,
                    const Executor& executor, const Body& body) {
  const std::size_t blocks = (columns + at_once - 1) / at_once;
  const std::size_t workers = std::min(executor.threads(), heads * blocks);
  const std::size_t room = (floats + 15) / 16 * 16;
  AlignedBuffer<float> buffer;
  float* workspace =
      buffer.resize(std::max<std::size_t>(workers == 1 ? 1 : executor.threads(), 1) * room);
  executor.parallel_for_workers(
      heads * blocks, 1, [&](std::size_t worker, std::size_t first, std::size_t last) {
        for (std::size_t t = first; t < last; ++t) {
          const std::size_t begin = t % blocks * at_once;
          body(t / blocks, begin, std::min(columns, begin + at_once), workspace + worker * room);
        }
      });
}

}  // namespace halo::kernels::flash_detail
