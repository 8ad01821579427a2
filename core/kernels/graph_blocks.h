// How the passes of graph attention are cut into parallel blocks of rows, and their scratch space.
//
// Private to graph_attention.cpp and graph_attention_backward.cpp. Thread-safety: pure functions.
#pragma once

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/graph_attention.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/transposed_edges.h"
#include "halo/core/matrix_view.h"

namespace halo::kernels::graph_detail {

inline Shape shape_of(const GraphAttentionOptions& options, std::size_t q_cols,
                      std::size_t v_cols) {
  assert(options.heads > 0 && q_cols % options.heads == 0 && v_cols % options.heads == 0);
  return {options.heads, q_cols / options.heads, v_cols / options.heads, options.scale};
}

inline Rows<float> rows_of(const MatrixView& m) { return {m.data, m.stride}; }
inline Rows<Bf16> rows_of(const HalfView& m) { return {m.data, m.stride}; }

inline std::size_t longest(std::span<const std::uint64_t> offsets) {
  std::uint64_t most = 0;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    most = std::max(most, offsets[i + 1] - offsets[i]);
  }
  return most;
}

// The edges of the slab that has most.
inline std::size_t widest_slab(std::span<const std::uint64_t> offsets) {
  constexpr std::size_t kSlab = TransposedEdges::kSlab;
  const std::size_t rows = offsets.size() - 1;
  std::uint64_t most = 0;
  for (std::size_t i = 0; i < rows; i += kSlab) {
    most = std::max(most, offsets[std::min(i + kSlab, rows)] - offsets[i]);
  }
  return most;
}

// Runs body(begin, end, scratch) over blocks of rows of up to `longest_row` edges, in whole slabs,
// with `slab` floats for a thread to collect one in.
template <class Body>
void for_each_block(std::size_t rows, std::size_t longest_row, std::size_t heads, std::size_t slab,
                    const Executor& executor, const Body& body) {
  // Few enough for many threads, enough for neighbouring rows to share what a cache holds.
  const std::size_t rows_per_task =
      TransposedEdges::slab_of(std::clamp<std::size_t>(rows / (8 * executor.threads()), 64, 512));
  const std::size_t stride = (longest_row + 2 * kPad - 1) / kPad * kPad;
  const std::size_t before = ((3 * stride + 1) * heads + kPad - 1) / kPad * kPad;
  Matrix memory = Matrix::padded(executor.threads(), before + slab);
  executor.parallel_for_workers(
      rows, rows_per_task, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        float* weights = memory.row(worker);
        float* slopes = weights + heads * stride;
        float* spare = slopes + heads * stride;
        body(begin, end,
             Scratch{stride, weights, slopes, spare, spare + heads * stride, weights + before});
      });
}

}  // namespace halo::kernels::graph_detail
