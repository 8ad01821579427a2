#include "halo/core/kernels/graph_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/graph_attention.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>

#include "halo/core/kernels/simd-inl.h"

#ifndef HALO_CORE_KERNELS_GRAPH_ONCE
#define HALO_CORE_KERNELS_GRAPH_ONCE
namespace halo::kernels::graph_detail {

constexpr std::size_t kPad = 16;  // floats that a kernel may write behind a row of weights

template <class T>
struct Rows {
  const T* data = nullptr;
  std::size_t stride = 0;
  const T* row(std::size_t i) const { return data + i * stride; }
};

struct Shape {
  std::size_t heads, d, dv;  // d, dv of one head
  float scale;
};

template <class T>
struct Forward {
  Shape shape;
  Rows<float> q;
  Rows<T> k, v;
  CsrView mask;
  MatrixSpan out;
  float* lse;  // may be null
};

// By rows: probabilities and score gradients of every edge, and the gradient of q.
struct BackwardRows {
  Shape shape;
  Rows<float> q, k, v, d_out;
  CsrView mask;
  MatrixSpan d_q;
  float* edge_weights;  // [entry][probabilities of the heads, score gradients of the heads]
};

// By columns: the gradients of k and v.
struct BackwardColumns {
  Shape shape;
  Rows<float> q, d_out;
  const std::uint64_t *offsets, *edges;
  const std::uint32_t* rows;
  MatrixSpan d_k, d_v;
  const float* edge_weights;
};

// What one thread needs for rows of up to `longest` edges.
struct Scratch {
  std::size_t stride;       // floats a head in weights and slopes
  float *weights, *slopes;  // [heads][stride]
};

}  // namespace halo::kernels::graph_detail
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;
using graph_detail::BackwardColumns;
using graph_detail::BackwardRows;
using graph_detail::Forward;
using graph_detail::Rows;
using graph_detail::Scratch;
using graph_detail::Shape;

constexpr float kNone = -std::numeric_limits<float>::infinity();

#if HWY_TARGET != HWY_SCALAR
// out = v's lower four lanes plus every further four.
template <class D>
HWY_INLINE void StoreFolded4(D tag, hn::Vec<D> v, float* out) {
  if constexpr (hn::MaxLanes(tag) == 4) {
    hn::StoreU(v, tag, out);
  } else {
    const hn::Half<D> half;
    StoreFolded4(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)), out);
  }
}
#endif

// out[i] = the sum of the lanes of the i-th vector.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void StoreSums4(D tag, V a, V b, V c, V d, float* out) {
#if HWY_TARGET == HWY_SCALAR
  hn::StoreU(a, tag, out);
  hn::StoreU(b, tag, out + 1);
  hn::StoreU(c, tag, out + 2);
  hn::StoreU(d, tag, out + 3);
#else
  const hn::RepartitionToWide<D> wide;
  const auto ab =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(tag, a, b), hn::InterleaveUpper(tag, a, b)));
  const auto cd =
      hn::BitCast(wide, hn::Add(hn::InterleaveLower(tag, c, d), hn::InterleaveUpper(tag, c, d)));
  StoreFolded4(tag,
               hn::Add(hn::BitCast(tag, hn::InterleaveLower(wide, ab, cd)),
                       hn::BitCast(tag, hn::InterleaveUpper(wide, ab, cd))),
               out);
#endif
}

// Kernels of one row and head are not inlined: a sanitised build of them all takes minutes.

// out[e] = <x, row of columns[e]> over one head's d values; writes up to a multiple of 4.
template <class D, class T>
HWY_NOINLINE void Dots(D tag, const float* HWY_RESTRICT x, const Rows<T>& rows, std::size_t offset,
                       const std::uint32_t* columns, std::size_t count, std::size_t d, float* out) {
  const std::size_t lanes = hn::Lanes(tag), whole = d / lanes * lanes;
  for (std::size_t e = 0; e < count; e += 4) {
    const T* r0 = rows.row(columns[e]) + offset;
    const T* r1 = rows.row(columns[std::min(e + 1, count - 1)]) + offset;
    const T* r2 = rows.row(columns[std::min(e + 2, count - 1)]) + offset;
    const T* r3 = rows.row(columns[std::min(e + 3, count - 1)]) + offset;
    auto a0 = hn::Zero(tag), a1 = hn::Zero(tag), a2 = hn::Zero(tag), a3 = hn::Zero(tag);
    for (std::size_t c = 0; c < whole; c += lanes) {
      const auto v = hn::LoadU(tag, x + c);
      a0 = hn::MulAdd(v, simd::load(tag, r0 + c), a0);
      a1 = hn::MulAdd(v, simd::load(tag, r1 + c), a1);
      a2 = hn::MulAdd(v, simd::load(tag, r2 + c), a2);
      a3 = hn::MulAdd(v, simd::load(tag, r3 + c), a3);
    }
    StoreSums4(tag, a0, a1, a2, a3, out + e);
    for (std::size_t c = whole; c < d; ++c) {
      out[e] += x[c] * simd::load_one(r0 + c);
      out[e + 1] += x[c] * simd::load_one(r1 + c);
      out[e + 2] += x[c] * simd::load_one(r2 + c);
      out[e + 3] += x[c] * simd::load_one(r3 + c);
    }
  }
}

// kVecs vectors of out = sum_e weights[e] * row of columns[e]; kChains edges at a time, so that
// there are enough independent sums.
template <std::size_t kVecs, std::size_t kChains, class D, class T>
HWY_INLINE void MixVecs(D tag, const float* HWY_RESTRICT weights, const Rows<T>& rows,
                        std::size_t offset, const std::uint32_t* columns, std::size_t count,
                        float* HWY_RESTRICT out) {
  const std::size_t lanes = hn::Lanes(tag);
  hn::Vec<D> acc[kChains][kVecs];
  HALO_UNROLL
  for (std::size_t u = 0; u < kChains; ++u) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) acc[u][v] = hn::Zero(tag);
  }
  std::size_t e = 0;
  for (; e + kChains <= count; e += kChains) {
    HALO_UNROLL
    for (std::size_t u = 0; u < kChains; ++u) {
      const T* row = rows.row(columns[e + u]) + offset;
      const auto w = hn::Set(tag, weights[e + u]);
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) {
        acc[u][v] = hn::MulAdd(w, simd::load(tag, row + v * lanes), acc[u][v]);
      }
    }
  }
  for (; e < count; ++e) {
    const T* row = rows.row(columns[e]) + offset;
    const auto w = hn::Set(tag, weights[e]);
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) {
      acc[0][v] = hn::MulAdd(w, simd::load(tag, row + v * lanes), acc[0][v]);
    }
  }
  HALO_UNROLL
  for (std::size_t v = 0; v < kVecs; ++v) {
    HALO_UNROLL
    for (std::size_t u = 1; u < kChains; ++u) acc[0][v] = hn::Add(acc[0][v], acc[u][v]);
    hn::StoreU(acc[0][v], tag, out + v * lanes);
  }
}

// out = sum_e weights[e] * row of columns[e], over one head's d values.
template <class D, class T>
HWY_NOINLINE void Mix(D tag, const float* weights, const Rows<T>& rows, std::size_t offset,
                      const std::uint32_t* columns, std::size_t count, std::size_t d, float* out) {
  const std::size_t lanes = hn::Lanes(tag);
  std::size_t c = 0;
  for (; c + 4 * lanes <= d; c += 4 * lanes) {
    MixVecs<4, 2>(tag, weights, rows, offset + c, columns, count, out + c);
  }
  for (; c + 2 * lanes <= d; c += 2 * lanes) {
    MixVecs<2, 4>(tag, weights, rows, offset + c, columns, count, out + c);
  }
  for (; c + lanes <= d; c += lanes) {
    MixVecs<1, 4>(tag, weights, rows, offset + c, columns, count, out + c);
  }
  for (; c < d; ++c) {
    float sum = 0.0F;
    for (std::size_t e = 0; e < count; ++e) {
      sum += weights[e] * simd::load_one(rows.row(columns[e]) + offset + c);
    }
    out[c] = sum;
  }
}

// Softmax in place of scale * x over `count` > 0 values; may write zeros behind them. Returns lse.
template <bool kWantLse>
HWY_NOINLINE float Softmax(float* x, std::size_t count, float scale) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t whole = (count + lanes - 1) / lanes * lanes;
  std::fill(x + count, x + whole, kNone);
  // The largest of scale * x, whatever the sign of scale.
  const auto by = hn::Set(tag, scale);
  auto high = hn::Set(tag, kNone);
  for (std::size_t i = 0; i < whole; i += lanes) {
    auto s = hn::Mul(by, hn::LoadU(tag, x + i));
    if (i + lanes > count) {
      s = hn::IfThenElse(hn::FirstN(tag, count - i), s, hn::Set(tag, kNone));
    }
    high = hn::Max(high, s);
    hn::StoreU(s, tag, x + i);
  }
  const auto shift = hn::MaxOfLanes(tag, high);
  auto total = hn::Zero(tag);
  for (std::size_t i = 0; i < whole; i += lanes) {
    const auto e = simd::exp(tag, hn::Sub(hn::LoadU(tag, x + i), shift));
    hn::StoreU(e, tag, x + i);
    total = hn::Add(total, e);
  }
  const float sum = hn::GetLane(hn::SumOfLanes(tag, total));
  const auto share = hn::Set(tag, 1.0F / sum);
  for (std::size_t i = 0; i < whole; i += lanes) {
    hn::StoreU(hn::Mul(share, hn::LoadU(tag, x + i)), tag, x + i);
  }
  return kWantLse ? hn::GetLane(shift) + std::log(sum) : 0.0F;
}

// The gradients by score, scale p (slope - sum p slope), in place of the gradients by probability.
// p is 0 behind `count`.
HWY_NOINLINE void ScoreSlopes(const float* p, float* slopes, std::size_t count, float scale) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t whole = (count + lanes - 1) / lanes * lanes;
  std::fill(slopes + count, slopes + whole, 0.0F);
  auto sum = hn::Zero(tag);
  for (std::size_t e = 0; e < whole; e += lanes) {
    sum = hn::MulAdd(hn::LoadU(tag, p + e), hn::LoadU(tag, slopes + e), sum);
  }
  const auto mean = hn::SumOfLanes(tag, sum);
  const auto by = hn::Set(tag, scale);
  for (std::size_t e = 0; e < whole; e += lanes) {
    const auto slope = hn::Sub(hn::LoadU(tag, slopes + e), mean);
    hn::StoreU(hn::Mul(hn::Mul(by, hn::LoadU(tag, p + e)), slope), tag, slopes + e);
  }
}

template <class T>
HWY_INLINE void PrefetchRows(const Rows<T>& rows, const std::uint32_t* columns, std::size_t count,
                             std::size_t values) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (std::size_t e = 0; e < count; ++e) {
    const T* row = rows.row(columns[e]);
    for (std::size_t c = 0; c < values; c += kLine) hwy::Prefetch(row + c);
  }
}

// The widest vector that divides both dimensions of a head, so that there are no scalar tails.
template <class Body>
HWY_INLINE void WithTagFor(const Shape& shape, const Body& body) {
  const hn::ScalableTag<float> widest;
  constexpr std::size_t kWidest = hn::MaxLanes(widest);
  const auto divides = [&](std::size_t lanes) {
    return shape.d % lanes == 0 && shape.dv % lanes == 0;
  };
  if constexpr (kWidest > 8) {
    if (!divides(kWidest) && divides(8)) return body(hn::CappedTag<float, 8>());
  }
  if constexpr (kWidest > 4) {
    if (!divides(kWidest) && divides(4)) return body(hn::CappedTag<float, 4>());
  }
  body(widest);
}

constexpr std::size_t kMaxAhead = 64;  // edges of the next row worth fetching early

template <class T, class D>
void ForwardWith(D tag, const Forward<T>& f, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  const auto [heads, d, dv, scale] = f.shape;
  for (std::size_t i = begin; i < end; ++i) {
    const auto columns = f.mask.row(i);
    const std::size_t count = columns.size();
    if (count == 0) {
      std::fill_n(f.out.row(i), heads * dv, 0.0F);
      if (f.lse != nullptr) std::fill_n(f.lse + i * heads, heads, kNone);
      continue;
    }
    PrefetchRows(f.v, columns.data(), std::min(count, kMaxAhead), heads * dv);
    for (std::size_t h = 0; h < heads; ++h) {
      float* weights = scratch.weights + h * scratch.stride;
      Dots(tag, f.q.row(i) + h * d, f.k, h * d, columns.data(), count, d, weights);
      if (f.lse == nullptr) {
        Softmax<false>(weights, count, scale);
      } else {
        f.lse[i * heads + h] = Softmax<true>(weights, count, scale);
      }
    }
    if (i + 1 < end) {
      const auto next = f.mask.row(i + 1);
      PrefetchRows(f.k, next.data(), std::min(next.size(), kMaxAhead), heads * d);
    }
    for (std::size_t h = 0; h < heads; ++h) {
      Mix(tag, scratch.weights + h * scratch.stride, f.v, h * dv, columns.data(), count, dv,
          f.out.row(i) + h * dv);
    }
  }
}

void ForwardFloat(const Forward<float>& f, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  WithTagFor(f.shape, [&](auto tag) HWY_ATTR { ForwardWith(tag, f, begin, end, scratch); });
}
void ForwardHalf(const Forward<Bf16>& f, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  WithTagFor(f.shape, [&](auto tag) HWY_ATTR { ForwardWith(tag, f, begin, end, scratch); });
}

template <class D>
void RowGradients(D tag, const BackwardRows& b, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  const auto [heads, d, dv, scale] = b.shape;
  for (std::size_t i = begin; i < end; ++i) {
    const auto columns = b.mask.row(i);
    const std::size_t count = columns.size();
    if (count == 0) {
      std::fill_n(b.d_q.row(i), heads * d, 0.0F);
      continue;
    }
    PrefetchRows(b.v, columns.data(), std::min(count, kMaxAhead), heads * dv);
    float* edge_weights = b.edge_weights + b.mask.row_offsets[i] * 2 * heads;
    for (std::size_t h = 0; h < heads; ++h) {
      float* p = scratch.weights + h * scratch.stride;
      float* slopes = scratch.slopes + h * scratch.stride;
      Dots(tag, b.q.row(i) + h * d, b.k, h * d, columns.data(), count, d, p);
      Softmax<false>(p, count, scale);
      Dots(tag, b.d_out.row(i) + h * dv, b.v, h * dv, columns.data(), count, dv, slopes);
      ScoreSlopes(p, slopes, count, scale);
      for (std::size_t e = 0; e < count; ++e) {
        edge_weights[e * 2 * heads + h] = p[e];
        edge_weights[e * 2 * heads + heads + h] = slopes[e];
      }
      Mix(tag, slopes, b.k, h * d, columns.data(), count, d, b.d_q.row(i) + h * d);
    }
    if (i + 1 < end) {
      const auto next = b.mask.row(i + 1);
      PrefetchRows(b.k, next.data(), std::min(next.size(), kMaxAhead), heads * d);
    }
  }
}

void BackwardRowsFloat(const BackwardRows& b, std::size_t begin, std::size_t end,
                       const Scratch& scratch) {
  WithTagFor(b.shape, [&](auto tag) HWY_ATTR { RowGradients(tag, b, begin, end, scratch); });
}

template <class D>
void ColumnGradients(D tag, const BackwardColumns& b, std::size_t begin, std::size_t end,
                     const Scratch& scratch) {
  const auto [heads, d, dv, scale] = b.shape;
  for (std::size_t j = begin; j < end; ++j) {
    const std::uint64_t first = b.offsets[j];
    const std::size_t count = b.offsets[j + 1] - first;
    const std::uint32_t* rows = b.rows + first;
    PrefetchRows(b.d_out, rows, std::min(count, kMaxAhead), heads * dv);
    for (std::size_t e = 0; e < count; ++e) {
      const float* edge = b.edge_weights + b.edges[first + e] * 2 * heads;
      for (std::size_t h = 0; h < heads; ++h) {
        scratch.weights[h * scratch.stride + e] = edge[h];
        scratch.slopes[h * scratch.stride + e] = edge[heads + h];
      }
    }
    for (std::size_t h = 0; h < heads; ++h) {
      Mix(tag, scratch.slopes + h * scratch.stride, b.q, h * d, rows, count, d,
          b.d_k.row(j) + h * d);
    }
    if (j + 1 < end) {
      const std::size_t next = b.offsets[j + 2] - b.offsets[j + 1];
      PrefetchRows(b.q, rows + count, std::min(next, kMaxAhead), heads * d);
      for (std::size_t e = 0; e < std::min(next, kMaxAhead); ++e) {
        hwy::Prefetch(b.edge_weights + b.edges[first + count + e] * 2 * heads);
      }
    }
    for (std::size_t h = 0; h < heads; ++h) {
      Mix(tag, scratch.weights + h * scratch.stride, b.d_out, h * dv, rows, count, dv,
          b.d_v.row(j) + h * dv);
    }
  }
}

void BackwardColumnsFloat(const BackwardColumns& b, std::size_t begin, std::size_t end,
                          const Scratch& scratch) {
  WithTagFor(b.shape, [&](auto tag) HWY_ATTR { ColumnGradients(tag, b, begin, end, scratch); });
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace halo::kernels {

HWY_EXPORT(ForwardFloat);
HWY_EXPORT(ForwardHalf);
HWY_EXPORT(BackwardRowsFloat);
HWY_EXPORT(BackwardColumnsFloat);

namespace {

using graph_detail::Scratch;
using graph_detail::Shape;

constexpr std::size_t kRowsPerTask = 64;

Shape shape_of(const GraphAttentionOptions& options, std::size_t q_cols, std::size_t v_cols) {
  assert(options.heads > 0 && q_cols % options.heads == 0 && v_cols % options.heads == 0);
  return {options.heads, q_cols / options.heads, v_cols / options.heads, options.scale};
}

graph_detail::Rows<float> rows_of(const MatrixView& m) { return {m.data, m.stride}; }
graph_detail::Rows<Bf16> rows_of(const HalfMatrix& m) {
  return {m.rows() == 0 ? nullptr : m.row(0), m.stride()};
}

std::size_t longest(std::span<const std::uint64_t> offsets) {
  std::uint64_t most = 0;
  for (std::size_t i = 0; i + 1 < offsets.size(); ++i) {
    most = std::max(most, offsets[i + 1] - offsets[i]);
  }
  return most;
}

// Runs body(begin, end, scratch) over blocks of `rows` rows of up to `longest_row` edges.
template <class Body>
void for_each_block(std::size_t rows, std::size_t longest_row, std::size_t heads,
                    const Executor& executor, const Body& body) {
  const std::size_t stride =
      (longest_row + 2 * graph_detail::kPad - 1) / graph_detail::kPad * graph_detail::kPad;
  Matrix memory = Matrix::padded(executor.threads(), 2 * heads * stride);
  executor.parallel_for_workers(
      rows, kRowsPerTask, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        float* weights = memory.row(worker);
        body(begin, end, Scratch{stride, weights, weights + heads * stride});
      });
}

template <class T, class Keys, class Kernel>
void forward(const MatrixView& q, const Keys& k, const Keys& v, const CsrView& mask,
             const Shape& shape, const MatrixSpan& out, std::span<float> lse,
             const Executor& executor, Kernel kernel) {
  assert(mask.rows() == q.rows && out.rows == q.rows);
  assert(out.cols == shape.heads * shape.dv);
  assert(lse.empty() || lse.size() == q.rows * shape.heads);
  const graph_detail::Forward<T> f{
      shape, rows_of(q), rows_of(k), rows_of(v), mask, out, lse.empty() ? nullptr : lse.data()};
  for_each_block(q.rows, longest(mask.row_offsets), shape.heads, executor,
                 [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                   kernel(f, begin, end, scratch);
                 });
}

}  // namespace

void graph_attention_forward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse,
                             const Executor& executor) {
  assert(k.cols == q.cols && mask.num_columns == k.rows && v.rows == k.rows);
  forward<float>(q, k, v, mask, shape_of(options, q.cols, v.cols), out, lse, executor,
                 HWY_DYNAMIC_DISPATCH(ForwardFloat));
}

void graph_attention_forward(const MatrixView& q, const HalfMatrix& k, const HalfMatrix& v,
                             const CsrView& mask, const GraphAttentionOptions& options,
                             const MatrixSpan& out, std::span<float> lse,
                             const Executor& executor) {
  assert(k.cols() == q.cols && mask.num_columns == k.rows() && v.rows() == k.rows());
  forward<Bf16>(q, k, v, mask, shape_of(options, q.cols, v.cols()), out, lse, executor,
                HWY_DYNAMIC_DISPATCH(ForwardHalf));
}

TransposedEdges transposed_edges(const CsrView& mask) {
  TransposedEdges t;
  t.offsets.assign(mask.num_columns + 1, 0);
  t.edges.resize(mask.entries());
  t.rows.resize(mask.entries());
  for (const std::uint32_t column : mask.columns) ++t.offsets[column + 1];
  for (std::size_t j = 0; j < mask.num_columns; ++j) t.offsets[j + 1] += t.offsets[j];
  std::vector<std::uint64_t> next(t.offsets.begin(), t.offsets.end() - 1);
  for (std::size_t i = 0; i < mask.rows(); ++i) {
    for (std::uint64_t e = mask.row_offsets[i]; e < mask.row_offsets[i + 1]; ++e) {
      const std::uint64_t at = next[mask.columns[e]]++;
      t.edges[at] = e;
      t.rows[at] = static_cast<std::uint32_t>(i);
    }
  }
  return t;
}

void graph_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const MatrixView& d_out,
                              const GraphGradients& gradients, std::vector<float>& workspace,
                              const Executor& executor) {
  const Shape shape = shape_of(options, q.cols, v.cols);
  assert(k.cols == q.cols && mask.rows() == q.rows && mask.num_columns == k.rows);
  assert(v.rows == k.rows && d_out.rows == q.rows && d_out.cols == v.cols);
  assert(edges.edges.size() == mask.entries() && edges.offsets.size() == mask.num_columns + 1);
  workspace.resize(std::max(workspace.size(), mask.entries() * 2 * shape.heads));
  const graph_detail::BackwardRows by_row{shape,       rows_of(q),      rows_of(k),
                                          rows_of(v),  rows_of(d_out),  mask,
                                          gradients.q, workspace.data()};
  for_each_block(q.rows, longest(mask.row_offsets), shape.heads, executor,
                 [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                   HWY_DYNAMIC_DISPATCH(BackwardRowsFloat)(by_row, begin, end, scratch);
                 });
  const graph_detail::BackwardColumns by_column{shape,
                                                rows_of(q),
                                                rows_of(d_out),
                                                edges.offsets.data(),
                                                edges.edges.data(),
                                                edges.rows.data(),
                                                gradients.k,
                                                gradients.v,
                                                workspace.data()};
  for_each_block(k.rows, longest(edges.offsets), shape.heads, executor,
                 [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                   HWY_DYNAMIC_DISPATCH(BackwardColumnsFloat)(by_column, begin, end, scratch);
                 });
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
