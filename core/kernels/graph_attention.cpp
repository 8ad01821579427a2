#include "halo/core/kernels/graph_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/graph_attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cassert>

#include "halo/core/kernels/graph_frontier.h"
#include "halo/core/kernels/graph_heads-inl.h"
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
  float sharpness;
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
      const auto [max, sum] = graph::ExponentialsOf(weights, keys.count, scale, f.sharpness);
      scratch.shares[h] = (f.gates.data == nullptr ? 1.0F : f.gates.row(i)[h]) / sum;
      if (f.lse != nullptr) f.lse[i * heads + h] = max + std::log(sum);
    }
    const Edges<T> next = i + 1 < end ? f.edges(f.k, i + 1, heads * d) : Edges<T>{};
    graph::Mix(tag, {scratch.weights, scratch.stride, 1}, scratch.shares, values,
               graph::Ahead<T, T>(values, next), heads, dv, f.add, f.out.row(i));
  }
}

#if HALO_GRAPH_HEADS
namespace hn = hwy::HWY_NAMESPACE;
// kHeads heads from `first` on. The scores of a row and the sums of the row before it are made side
// by side, so that the arithmetic of the ones covers the loads of the others. Values, not
// references to the task: what a loop reads then stays in registers.
template <std::size_t kHeads, std::size_t kVecs, class T>
class ForwardHeads {
  using Group = graph::Heads<kHeads, kVecs, T>;
  using Tag = graph::Tag;
  static constexpr std::size_t kEdges = Group::kEdges, kWidth = kHeads * kVecs * graph::kLanes;

 public:
  ForwardHeads(const Forward<T>& f, std::size_t first)
      : offsets_(f.mask.row_offsets.data()),
        columns_(f.mask.columns.data()),
        k_{f.k.data + first * f.shape.d, f.k.stride},
        v_{f.v.data + first * f.shape.d, f.v.stride},
        scale_(f.shape.scale) {}

  static HWY_NOINLINE void Run(const Forward<T>& f, std::size_t first, std::size_t begin,
                               std::size_t end, const Scratch& scratch) {
    const ForwardHeads self(f, first);
    graph_detail::Frontier frontier(f.mask.row_offsets, self.columns_, begin);
    float *weights = scratch.slopes, *next_weights = scratch.weights;
    const float* q = f.q.data + first * f.shape.d;
    typename Group::Sums query, sums;
    std::size_t i = WithEdges(f, first, begin, end);
    if (i == end) return;
    Group::Query(q + i * f.q.stride, query);
    for (std::size_t e = 0; e < self.count(i); e += kEdges)
      self.template Score<false>(i, e, query, next_weights);
    while (i < end) {
      const std::size_t next = WithEdges(f, first, i + 1, end), here = self.count(i);
      const std::size_t there = next < end ? self.count(next) : 0;
      std::swap(weights, next_weights);
      const auto [reached, reaches] = frontier.advance(i);
      for (std::size_t j = reached; j < reaches; ++j) {
        graph_detail::fetch_early(self.k_.row(j), kWidth);
        graph_detail::fetch_early(self.v_.row(j), kWidth);
      }
      if (const std::size_t later = i + graph_detail::kRowsAhead; later < end) {
        graph_detail::fetch_early(q + later * f.q.stride, kWidth);
        graph_detail::fetch_early(f.out.row(later) + first * f.shape.d, kWidth);
      }
      float shares[kHeads];
      Softmax(f, first, i, here, weights, shares);
      Group::Zero(sums);
      if (there != 0) Group::Query(q + next * f.q.stride, query);
      std::size_t e = 0;
      for (; e + kEdges <= std::min(here, there); e += kEdges) {
        self.template Score<true>(next, e, query, next_weights);
        HALO_UNROLL
        for (std::size_t u = 0; u < kEdges; ++u) self.Mix(i, e + u, weights, sums);
      }
      for (std::size_t rest = e; rest < there; rest += kEdges) {
        self.template Score<false>(next, rest, query, next_weights);
      }
      for (; e < here; ++e) self.Mix(i, e, weights, sums);
      float* out = f.out.row(i) + first * f.shape.d;
      HALO_UNROLL
      for (std::size_t h = 0; h < kHeads; ++h) {
        graph::StoreFrom<T, kVecs>(sums + h * kVecs, shares[h], f.add,
                                   out + h * kVecs * graph::kLanes);
      }
      i = next;
    }
  }

 private:
  std::size_t count(std::size_t i) const { return offsets_[i + 1] - offsets_[i]; }

  // The first row from i on that has edges; those before it get nothing.
  static std::size_t WithEdges(const Forward<T>& f, std::size_t first, std::size_t i,
                               std::size_t end) {
    for (; i < end && f.mask.row(i).empty(); ++i) {
      if (!f.add) std::fill_n(f.out.row(i) + first * f.shape.d, kHeads * f.shape.d, 0.0F);
      if (f.lse != nullptr) std::fill_n(f.lse + i * f.shape.heads + first, kHeads, graph::kNone);
    }
    return i;
  }

  template <bool kWhole>
  HWY_INLINE void Score(std::size_t i, std::size_t e, const typename Group::Sums& query,
                        float* HWY_RESTRICT to) const {
    const Tag tag;
    const auto products =
        Group::template Products<kWhole>(query, k_, columns_ + offsets_[i] + e, count(i) - e);
    // Stored, so that the compiler cannot fuse the product with the subtraction of the largest,
    // which must give e^0 = 1 exactly.
    hn::Store(hn::Mul(hn::Set(tag, scale_), products), tag, to + e * kHeads);
  }

  HWY_INLINE void Mix(std::size_t i, std::size_t e, const float* HWY_RESTRICT weights,
                      typename Group::Sums& sums) const {
    Group::Mix(v_.row(columns_[offsets_[i] + e]), weights, e, sums);
  }

  // Scores become exponentials; a row's shares and lse.
  static HWY_INLINE void Softmax(const Forward<T>& f, std::size_t first, std::size_t i,
                                 std::size_t count, float* HWY_RESTRICT weights,
                                 float (&shares)[kHeads]) {
    const Tag tag;
    auto high = hn::Load(tag, weights);
    for (std::size_t e = kEdges; e < count; e += kEdges) {
      high = hn::Max(high, hn::Load(tag, weights + e * kHeads));
    }
    high = Group::MaxOfHead(high);
    auto stretch = hn::Set(tag, 1.0F);
    if (f.sharpness != 0.0F) {
      auto low = hn::Load(tag, weights);
      for (std::size_t e = kEdges; e < count; e += kEdges) {
        low = hn::Min(low, hn::Load(tag, weights + e * kHeads));
      }
      const auto spread = hn::Sub(high, Group::MinOfHead(low));
      stretch = hn::Div(hn::Set(tag, f.sharpness), hn::Max(spread, hn::Set(tag, kSmallestSpread)));
    }
    auto sum = hn::Zero(tag);
    for (std::size_t e = 0; e < count; e += kEdges) {
      float* at = weights + e * kHeads;
      auto p = simd::exp(tag, hn::Mul(stretch, hn::Sub(hn::Load(tag, at), high)));
      if (e + kEdges > count) p = hn::IfThenElseZero(Group::Within(count - e), p);
      hn::Store(p, tag, at);
      sum = hn::Add(sum, p);
    }
    HWY_ALIGN float highs[graph::kLanes], sums[graph::kLanes];
    hn::Store(high, tag, highs);
    hn::Store(Group::SumOfHead(sum), tag, sums);
    HALO_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) {
      const float gate = f.gates.data == nullptr ? 1.0F : f.gates.row(i)[first + h];
      shares[h] = gate / sums[h * kEdges];
      if (f.lse != nullptr) {
        f.lse[i * f.shape.heads + first + h] = highs[h * kEdges] + std::log(sums[h * kEdges]);
      }
    }
  }

  const std::uint64_t* offsets_;
  const std::uint32_t* columns_;
  graph_detail::Rows<T> k_, v_;
  float scale_;
};
#endif  // HALO_GRAPH_HEADS

template <class T>
void ForwardAny(const Forward<T>& f, std::size_t begin, std::size_t end, const Scratch& scratch) {
#if HALO_GRAPH_HEADS
  const auto group = [&](std::size_t first, auto heads, auto vectors) {
    ForwardHeads<decltype(heads)::value, decltype(vectors)::value, T>::Run(f, first, begin, end,
                                                                           scratch);
  };
  if (graph::ForHeads(f.shape, group)) return;
#endif
  graph::WithTagFor(f.shape, [&](auto tag) HWY_ATTR { ForwardRows(tag, f, begin, end, scratch); });
}
void ForwardFloat(const Forward<float>& f, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  ForwardAny(f, begin, end, scratch);
}
void ForwardHalf(const Forward<Bf16>& f, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  ForwardAny(f, begin, end, scratch);
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
  assert(lse.empty() || (lse.size() == q.rows * shape.heads && options.sharpness == 0.0F));
  assert(options.gates.data == nullptr ||
         (options.gates.rows == q.rows && options.gates.cols == shape.heads));
  const graph_detail::Forward<T> f{shape,
                                   graph_detail::rows_of(q),
                                   graph_detail::rows_of(k),
                                   graph_detail::rows_of(v),
                                   mask,
                                   options.gates,
                                   options.sharpness,
                                   options.add,
                                   out,
                                   lse.empty() ? nullptr : lse.data()};
  graph_detail::for_each_block(
      q.rows, graph_detail::longest(mask.row_offsets), shape.heads, 0, executor,
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
