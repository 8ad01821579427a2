#include "halo/core/kernels/graph_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/graph_attention_backward.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cassert>
#include <cstring>

#include "halo/core/kernels/graph_mix-inl.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/graph_scores-inl.h"

#ifndef HALO_CORE_KERNELS_GRAPH_ATTENTION_BACKWARD_ONCE
#define HALO_CORE_KERNELS_GRAPH_ATTENTION_BACKWARD_ONCE
namespace halo::kernels::graph_detail {

// By rows: gated probabilities and score gradients of every edge, and the gradients of q and gates.
template <class T>
struct BackwardRows {
  Shape shape;
  Rows<float> q, d_out;
  Rows<T> k, v;
  CsrView mask;
  MatrixView gates;
  MatrixSpan d_q, d_gates;
  float* edge_weights;  // [entry][probabilities of the heads, score gradients of the heads]

  Edges<T> edges(const Rows<T>& rows, std::size_t i, std::size_t values) const {
    const auto columns = mask.row(i);
    return {rows, columns.data(), columns.size(), values};
  }
};

// By columns: the gradients of k and v.
struct BackwardColumns {
  Shape shape;
  Rows<float> q, d_out;
  const TransposedEdges* transposed;
  MatrixSpan d_k, d_v;
  const float* edge_weights;

  Edges<float> edges(const Rows<float>& rows_read, std::size_t j, std::size_t values) const {
    const std::uint64_t first = transposed->offsets[j];
    return {rows_read, transposed->rows.data() + first, transposed->offsets[j + 1] - first, values};
  }
};

}  // namespace halo::kernels::graph_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using graph_detail::BackwardColumns;
using graph_detail::BackwardRows;
using graph_detail::Edges;
using graph_detail::Scratch;

// p becomes gate times the probabilities share * p, and the slopes (by probability) the gradients
// by score, scale gate p (slope - sum p slope); returns that sum. Both are 0 behind `count`.
HWY_NOINLINE float ScoreSlopes(float* p, float* slopes, std::size_t count, float share, float gate,
                               float scale) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t whole = (count + lanes - 1) / lanes * lanes;
  std::fill(slopes + count, slopes + whole, 0.0F);
  auto sum = hn::Zero(tag);
  for (std::size_t e = 0; e < whole; e += lanes) {
    sum = hn::MulAdd(hn::LoadU(tag, p + e), hn::LoadU(tag, slopes + e), sum);
  }
  const auto mean = hn::Mul(hn::Set(tag, share), hn::SumOfLanes(tag, sum));
  const auto gated = hn::Set(tag, share * gate), by = hn::Set(tag, scale);
  for (std::size_t e = 0; e < whole; e += lanes) {
    const auto weight = hn::Mul(gated, hn::LoadU(tag, p + e));
    const auto slope = hn::Sub(hn::LoadU(tag, slopes + e), mean);
    hn::StoreU(weight, tag, p + e);
    hn::StoreU(hn::Mul(hn::Mul(by, weight), slope), tag, slopes + e);
  }
  return hn::GetLane(mean);
}

template <class T, class D>
void RowGradients(D tag, const BackwardRows<T>& b, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  const auto [heads, d, dv, scale] = b.shape;
  const bool want_gates = b.d_gates.data != nullptr;
  for (std::size_t i = begin; i < end; ++i) {
    const Edges<T> keys = b.edges(b.k, i, heads * d), values = b.edges(b.v, i, heads * dv);
    if (keys.count == 0) {
      std::fill_n(b.d_q.row(i), heads * d, 0.0F);
      if (want_gates) std::fill_n(b.d_gates.row(i), heads, 0.0F);
      continue;
    }
    const Edges<T> next = i + 1 < end ? b.edges(b.k, i + 1, heads * d) : Edges<T>{};
    graph::Dots(tag, b.q.row(i), keys, graph::Ahead<T, T>(keys, values), heads, d, scratch.weights,
                scratch.stride);
    graph::Dots(tag, b.d_out.row(i), values, graph::Ahead<T, T>(values, {}), heads, dv,
                scratch.slopes, scratch.stride);
    float* edge_weights = b.edge_weights + b.mask.row_offsets[i] * 2 * heads;
    for (std::size_t h = 0; h < heads; ++h) {
      float* p = scratch.weights + h * scratch.stride;
      float* slopes = scratch.slopes + h * scratch.stride;
      const auto [max, sum] = graph::ExponentialsOf(p, keys.count, scale);
      const float gate = b.gates.data == nullptr ? 1.0F : b.gates.row(i)[h];
      const float mean = ScoreSlopes(p, slopes, keys.count, 1.0F / sum, gate, scale);
      if (want_gates) b.d_gates.row(i)[h] = mean;
      for (std::size_t e = 0; e < keys.count; ++e) {
        edge_weights[e * 2 * heads + h] = p[e];
        edge_weights[e * 2 * heads + heads + h] = slopes[e];
      }
      scratch.shares[h] = 1.0F;
    }
    graph::Mix(tag, {scratch.slopes, scratch.stride, 1}, scratch.shares, keys,
               graph::Ahead<T, T>(keys, next), heads, d, false, b.d_q.row(i));
  }
}

void RowsFloat(const BackwardRows<float>& b, std::size_t begin, std::size_t end,
               const Scratch& scratch) {
  graph::WithTagFor(b.shape, [&](auto tag) HWY_ATTR { RowGradients(tag, b, begin, end, scratch); });
}
void RowsHalf(const BackwardRows<Bf16>& b, std::size_t begin, std::size_t end,
              const Scratch& scratch) {
  graph::WithTagFor(b.shape, [&](auto tag) HWY_ATTR { RowGradients(tag, b, begin, end, scratch); });
}

template <class D>
void ColumnGradients(D tag, const BackwardColumns& b, std::size_t begin, std::size_t end,
                     const Scratch& scratch) {
  const auto [heads, d, dv, scale] = b.shape;
  const std::size_t width = 2 * heads;
  const std::uint64_t* order = b.transposed->edges.data();
  const std::uint64_t last = b.transposed->offsets[end];
  std::fill_n(scratch.shares, heads, 1.0F);
  for (std::size_t j = begin; j < end; ++j) {
    const Edges<float> queries = b.edges(b.q, j, heads * d);
    const Edges<float> slopes = b.edges(b.d_out, j, heads * dv);
    const std::uint64_t first = b.transposed->offsets[j];
    float* weights = scratch.weights;  // [edge][2 heads]: weights and slopes are one piece
    for (std::size_t e = 0; e < queries.count; ++e) {
      const std::uint64_t later = std::min<std::uint64_t>(first + e + 64, last - 1);
      hwy::Prefetch(b.edge_weights + order[later] * width);
      std::memcpy(weights + e * width, b.edge_weights + order[first + e] * width,
                  width * sizeof(float));
    }
    const Edges<float> next = j + 1 < end ? b.edges(b.q, j + 1, heads * d) : Edges<float>{};
    graph::Mix(tag, {weights + heads, 1, width}, scratch.shares, queries,
               graph::Ahead<float, float>(queries, slopes), heads, d, false, b.d_k.row(j));
    graph::Mix(tag, {weights, 1, width}, scratch.shares, slopes,
               graph::Ahead<float, float>(slopes, next), heads, dv, false, b.d_v.row(j));
  }
}

void Columns(const BackwardColumns& b, std::size_t begin, std::size_t end, const Scratch& scratch) {
  graph::WithTagFor(b.shape,
                    [&](auto tag) HWY_ATTR { ColumnGradients(tag, b, begin, end, scratch); });
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/graph_blocks.h"

namespace halo::kernels {

HWY_EXPORT(RowsFloat);
HWY_EXPORT(RowsHalf);
HWY_EXPORT(Columns);

namespace {

using graph_detail::rows_of;
using graph_detail::Scratch;

template <class T, class Keys, class Kernel>
void backward(const MatrixView& q, const Keys& k, const Keys& v, const CsrView& mask,
              const TransposedEdges& edges, const GraphAttentionOptions& options,
              const MatrixView& d_out, const GraphGradients& gradients,
              std::vector<float>& workspace, const Executor& executor, Kernel rows_kernel) {
  const graph_detail::Shape shape = graph_detail::shape_of(options, q.cols, v.cols);
  assert(k.cols == q.cols && mask.rows() == q.rows);
  assert(mask.num_columns == k.rows);
  assert(v.rows == k.rows);
  assert(d_out.rows == q.rows && d_out.cols == v.cols);
  assert(edges.edges.size() == mask.entries() && edges.offsets.size() == mask.num_columns + 1);
  workspace.resize(std::max(workspace.size(), mask.entries() * 2 * shape.heads));
  const graph_detail::BackwardRows<T> by_row{
      shape, rows_of(q),    rows_of(d_out), rows_of(k),      rows_of(v),
      mask,  options.gates, gradients.q,    gradients.gates, workspace.data()};
  graph_detail::for_each_block(q.rows, graph_detail::longest(mask.row_offsets), shape.heads,
                               executor,
                               [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                                 rows_kernel(by_row, begin, end, scratch);
                               });
  const graph_detail::BackwardColumns by_column{shape,       rows_of(q),  rows_of(d_out),  &edges,
                                                gradients.k, gradients.v, workspace.data()};
  const auto columns_kernel = HWY_DYNAMIC_DISPATCH(Columns);
  graph_detail::for_each_block(k.rows, graph_detail::longest(edges.offsets), shape.heads, executor,
                               [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                                 columns_kernel(by_column, begin, end, scratch);
                               });
}

}  // namespace

void graph_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const MatrixView& d_out,
                              const GraphGradients& gradients, std::vector<float>& workspace,
                              const Executor& executor) {
  backward<float>(q, k, v, mask, edges, options, d_out, gradients, workspace, executor,
                  HWY_DYNAMIC_DISPATCH(RowsFloat));
}

void graph_attention_backward(const MatrixView& q, const HalfView& k, const HalfView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const MatrixView& d_out,
                              const GraphGradients& gradients, std::vector<float>& workspace,
                              const Executor& executor) {
  backward<Bf16>(q, k, v, mask, edges, options, d_out, gradients, workspace, executor,
                 HWY_DYNAMIC_DISPATCH(RowsHalf));
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
