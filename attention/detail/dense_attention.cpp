#include "halo/attention/detail/dense_attention.h"

#include <algorithm>
#include <cassert>
#include <limits>
#include <span>
#include <vector>

#include "halo/attention/detail/row_blocks.h"
#include "halo/core/kernels/bf16.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::attention::detail {
namespace {

MatrixView head_of(const MatrixView& m, std::size_t head, std::size_t heads) {
  return m.sub_cols(head * (m.cols / heads), m.cols / heads);
}
MatrixSpan head_of(const MatrixSpan& m, std::size_t head, std::size_t heads) {
  return m.sub_cols(head * (m.cols / heads), m.cols / heads);
}

void zero(const MatrixSpan& m) {
  for (std::size_t i = 0; i < m.rows; ++i) std::fill_n(m.row(i), m.cols, 0.0F);
}

void add(const MatrixView& from, const MatrixSpan& to) {
  for (std::size_t i = 0; i < to.rows; ++i) kernels::axpy(1.0F, from.row(i), to.row(i), to.cols);
}

// The rest becomes -inf. `room` holds a row.
void keep_columns(std::span<const std::uint32_t> columns, float* row, std::vector<float>& room) {
  std::fill(room.begin(), room.end(), -std::numeric_limits<float>::infinity());
  for (const std::uint32_t column : columns) room[column] = row[column];
  std::copy(room.begin(), room.end(), row);
}

// Of rows first, first + 1 ... of the attention.
template <class Packed>
void probabilities(const MatrixView& q, const Packed& keys, const CsrView* mask, std::size_t first,
                   float scale, const MatrixSpan& p) {
  kernels::gemm(q, keys, p, calling_thread());
  std::vector<float> room(mask == nullptr ? 0 : p.cols);
  for (std::size_t i = 0; i < p.rows; ++i) {
    kernels::scale(scale, p.row(i), p.cols);
    if (mask != nullptr) keep_columns(mask->row(first + i), p.row(i), room);
    kernels::softmax(p.row(i), p.cols);
  }
}

// Gradients by probability become gradients by q . k: scale p (slope - sum p slope).
void score_slopes(const MatrixView& p, float scale, const MatrixSpan& slopes) {
  for (std::size_t i = 0; i < p.rows; ++i) {
    float* slope = slopes.row(i);
    const float* row = p.row(i);
    const float mean = kernels::dot(row, slope, p.cols);
    for (std::size_t j = 0; j < p.cols; ++j) slope[j] = scale * row[j] * (slope[j] - mean);
  }
}

Matrix transposed(const MatrixView& m) {
  Matrix turned(m.cols, m.rows);
  for (std::size_t i = 0; i < m.rows; ++i) {
    for (std::size_t c = 0; c < m.cols; ++c) turned.row(c)[i] = m.row(i)[c];
  }
  return turned;
}

// Each head's keys, transposed, and values.
template <class Packed>
struct PackedHeads {
  std::vector<Packed> keys, values;
};

// From keys and values packed head by head.
template <class Packed, class PackKeys, class PackValues>
void attend(const MatrixView& q, const MatrixView& k, const MatrixView& v, const CsrView* mask,
            std::size_t heads, float scale, const MatrixSpan& out, const Executor& executor,
            const PackKeys& pack_keys, const PackValues& pack_values) {
  PackedHeads<Packed> packed{std::vector<Packed>(heads), std::vector<Packed>(heads)};
  executor.parallel_for(heads, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t h = begin; h < end; ++h) {
      packed.keys[h] = pack_keys(head_of(k, h, heads));
      packed.values[h] = pack_values(head_of(v, h, heads));
    }
  });
  const std::size_t block = dense_block(k.rows);
  Matrix logits(executor.threads(), std::min(block, q.rows) * k.rows);
  for_each_block(executor, heads, q.rows, block,
                 [&](std::size_t worker, std::size_t h, std::size_t begin, std::size_t end) {
                   const MatrixSpan p(logits.row(worker), end - begin, k.rows);
                   probabilities(head_of(q, h, heads).sub_rows(begin, end - begin), packed.keys[h],
                                 mask, begin, scale, p);
                   kernels::gemm(p, packed.values[h],
                                 head_of(out, h, heads).sub_rows(begin, end - begin),
                                 calling_thread());
                 });
}

struct Head {
  MatrixView q, k, v, d_out;
  MatrixSpan d_q, d_k, d_v;
};

void backward_head(const Head& head, const CsrView* mask, float scale) {
  const std::size_t m = head.k.rows, block = dense_block(m);
  const kernels::PackedMatrix keys_t = kernels::pack_transposed(head.k),
                              keys = kernels::pack(head.k),
                              values_t = kernels::pack_transposed(head.v);
  Matrix p(std::min(block, head.q.rows), m), slopes(p.rows(), m);
  Matrix part_k(m, head.k.cols), part_v(m, head.v.cols);
  zero(head.d_k);
  zero(head.d_v);
  for (std::size_t begin = 0; begin < head.q.rows; begin += block) {
    const std::size_t count = std::min(block, head.q.rows - begin);
    const MatrixView q = head.q.sub_rows(begin, count), d_out = head.d_out.sub_rows(begin, count);
    const MatrixSpan p_rows = p.span().sub_rows(0, count), s = slopes.span().sub_rows(0, count);
    probabilities(q, keys_t, mask, begin, scale, p_rows);
    kernels::gemm(d_out, values_t, s, calling_thread());
    score_slopes(p_rows, scale, s);
    kernels::gemm(s, keys, head.d_q.sub_rows(begin, count), calling_thread());
    kernels::gemm_tn(s, q, part_k, calling_thread());
    kernels::gemm_tn(p_rows, d_out, part_v, calling_thread());
    add(part_k, head.d_k);
    add(part_v, head.d_v);
  }
}

}  // namespace

void dense_attention(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                     const CsrView* mask, std::size_t heads, float scale, bool half,
                     const MatrixSpan& out, const Executor& executor) {
  assert(q.cols == k.cols && k.rows == v.rows && out.rows == q.rows && out.cols == v.cols);
  if (k.rows == 0) return zero(out);
  if (half && kernels::bf16::in_hardware()) {
    attend<kernels::PackedHalfMatrix>(
        q, k, v, mask, heads, scale, out, executor,
        [](const MatrixView& keys) { return kernels::pack_half(transposed(keys)); },
        kernels::pack_half);
  } else {
    attend<kernels::PackedMatrix>(q, k, v, mask, heads, scale, out, executor,
                                  kernels::pack_transposed, kernels::pack);
  }
}

void dense_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView* mask, std::size_t heads, float scale,
                              const MatrixView& d_out, const MatrixSpan& d_q, const MatrixSpan& d_k,
                              const MatrixSpan& d_v, const Executor& executor) {
  if (k.rows == 0) return zero(d_q);
  executor.parallel_for(heads, 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t h = begin; h < end; ++h) {
      backward_head({head_of(q, h, heads), head_of(k, h, heads), head_of(v, h, heads),
                     head_of(d_out, h, heads), head_of(d_q, h, heads), head_of(d_k, h, heads),
                     head_of(d_v, h, heads)},
                    mask, scale);
    }
  });
}

}  // namespace halo::attention::detail
