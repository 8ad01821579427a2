#include "halo/core/kernels/graph_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/graph_attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cassert>

#include "halo/core/kernels/graph_mix-inl.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/graph_scores-inl.h"

#ifndef HALO_CORE_KERNELS_GRAPH_ATTENTION_ONCE
#define HALO_CORE_KERNELS_GRAPH_ATTENTION_ONCE
namespace halo::kernels::graph_detail {

template <class T>
struct Forward {
  Shape shape;
  Rows<float> q;
  Rows<T> k, v;
  CsrView mask;
  MatrixView gates;
  bool add;
  MatrixSpan out;
  float* lse;  // may be null

  Edges<T> edges(const Rows<T>& rows, std::size_t i, std::size_t values) const {
    const auto columns = mask.row(i);
    return {rows, columns.data(), columns.size(), values};
  }
};

}  // namespace halo::kernels::graph_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
using graph_detail::Edges;
using graph_detail::Forward;
using graph_detail::Scratch;

template <class T, class D>
void ForwardRows(D tag, const Forward<T>& f, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  const auto [heads, d, dv, scale] = f.shape;
  for (std::size_t i = begin; i < end; ++i) {
    const Edges<T> keys = f.edges(f.k, i, heads * d), values = f.edges(f.v, i, heads * dv);
    if (keys.count == 0) {
      if (!f.add) std::fill_n(f.out.row(i), heads * dv, 0.0F);
      if (f.lse != nullptr) std::fill_n(f.lse + i * heads, heads, graph::kNone);
      continue;
    }
    graph::Dots(tag, f.q.row(i), keys, graph::Ahead<T, T>(keys, values), heads, d, scratch.weights,
                scratch.stride);
    for (std::size_t h = 0; h < heads; ++h) {
      float* weights = scratch.weights + h * scratch.stride;
      const auto [max, sum] = graph::ExponentialsOf(weights, keys.count, scale);
      scratch.shares[h] = (f.gates.data == nullptr ? 1.0F : f.gates.row(i)[h]) / sum;
      if (f.lse != nullptr) f.lse[i * heads + h] = max + std::log(sum);
    }
    const Edges<T> next = i + 1 < end ? f.edges(f.k, i + 1, heads * d) : Edges<T>{};
    graph::Mix(tag, {scratch.weights, scratch.stride, 1}, scratch.shares, values,
               graph::Ahead<T, T>(values, next), heads, dv, f.add, f.out.row(i));
  }
}

void ForwardFloat(const Forward<float>& f, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  graph::WithTagFor(f.shape, [&](auto tag) HWY_ATTR { ForwardRows(tag, f, begin, end, scratch); });
}
void ForwardHalf(const Forward<Bf16>& f, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  graph::WithTagFor(f.shape, [&](auto tag) HWY_ATTR { ForwardRows(tag, f, begin, end, scratch); });
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/graph_blocks.h"

namespace halo::kernels {

HWY_EXPORT(ForwardFloat);
HWY_EXPORT(ForwardHalf);

namespace {

template <class T, class Keys, class Kernel>
void forward(const MatrixView& q, const Keys& k, const Keys& v, const CsrView& mask,
             const GraphAttentionOptions& options, const MatrixSpan& out, std::span<float> lse,
             const Executor& executor, Kernel kernel) {
  const graph_detail::Shape shape = graph_detail::shape_of(options, q.cols, v.cols);
  assert(k.cols == q.cols && mask.num_columns == k.rows);
  assert(v.rows == k.rows);
  assert(mask.rows() == q.rows && out.rows == q.rows && out.cols == shape.heads * shape.dv);
  assert(lse.empty() || lse.size() == q.rows * shape.heads);
  assert(options.gates.data == nullptr ||
         (options.gates.rows == q.rows && options.gates.cols == shape.heads));
  const graph_detail::Forward<T> f{shape,
                                   graph_detail::rows_of(q),
                                   graph_detail::rows_of(k),
                                   graph_detail::rows_of(v),
                                   mask,
                                   options.gates,
                                   options.add,
                                   out,
                                   lse.empty() ? nullptr : lse.data()};
  graph_detail::for_each_block(
      q.rows, graph_detail::longest(mask.row_offsets), shape.heads, executor,
      [&](std::size_t begin, std::size_t end, const graph_detail::Scratch& scratch) {
        kernel(f, begin, end, scratch);
      });
}

}  // namespace

void graph_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse,
                             const Executor& executor) {
  forward<float>(q, k, v, mask, options, out, lse, executor, HWY_DYNAMIC_DISPATCH(ForwardFloat));
}

void graph_attention_forward(const MatrixView& q, const HalfView& k, const HalfView& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse,
                             const Executor& executor) {
  forward<Bf16>(q, k, v, mask, options, out, lse, executor, HWY_DYNAMIC_DISPATCH(ForwardHalf));
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
