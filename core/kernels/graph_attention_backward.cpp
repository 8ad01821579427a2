#include "halo/core/kernels/graph_attention.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "halo/core/kernels/graph_attention_backward.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h must come first.
#include <hwy/highway.h>

#include <cassert>
#include <cstring>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/graph_frontier.h"
#include "halo/core/kernels/graph_heads-inl.h"
#include "halo/core/kernels/graph_mix-inl.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/graph_scores-inl.h"
#include "halo/core/kernels/vector_ops.h"

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
  Rows<float> out;   // forward's, without gates
  const float* lse;  // [n heads]
  MatrixSpan d_q, d_gates;
  const TransposedEdges* transposed;
  float* edge_weights;  // [place][probabilities of the heads, score gradients of the heads]
  Bf16* rounded;        // [n][q and d_out of a group of heads]: where values are stored as bfloat16
  bool stream_q, stream_records, stream_rounded;  // past the caches

  Edges<T> edges(const Rows<T>& rows, std::size_t i, std::size_t values) const {
    const auto columns = mask.row(i);
    return {rows, columns.data(), columns.size(), values};
  }
};

// By columns: the gradients of k and v. T is what keys and values are stored as.
template <class T>
struct BackwardColumns {
  Shape shape;
  Rows<float> q, d_out;
  const TransposedEdges* transposed;
  MatrixSpan d_k, d_v;
  const float* edge_weights;
  const Bf16* rounded;
  bool stream;  // the gradients, past the caches

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

// p becomes gate times the probabilities e^(scale p - lse), and the slopes (by probability) the
// gradients by score, scale gate p (slope - mean). Both are 0 behind `count`.
HWY_NOINLINE void ScoreSlopes(float* p, float* slopes, std::size_t count, float lse, float mean,
                              float gate, float scale) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const auto by = hn::Set(tag, scale);
  for (std::size_t e = 0; e < count; e += lanes) {
    auto weight = hn::Mul(hn::Set(tag, gate),
                          simd::exp(tag, hn::MulSub(by, hn::LoadU(tag, p + e), hn::Set(tag, lse))));
    auto slope =
        hn::Mul(hn::Mul(by, weight), hn::Sub(hn::LoadU(tag, slopes + e), hn::Set(tag, mean)));
    if (e + lanes > count) {
      const auto within = hn::FirstN(tag, count - e);
      weight = hn::IfThenElseZero(within, weight);
      slope = hn::IfThenElseZero(within, slope);
    }
    hn::StoreU(weight, tag, p + e);
    hn::StoreU(slope, tag, slopes + e);
  }
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
    const std::uint32_t* places = b.transposed->in_slab.data() + b.mask.row_offsets[i];
    float* edge_weights =
        b.edge_weights + b.mask.row_offsets[TransposedEdges::slab_of(i)] * 2 * heads;
    for (std::size_t h = 0; h < heads; ++h) {
      float* p = scratch.weights + h * scratch.stride;
      float* slopes = scratch.slopes + h * scratch.stride;
      const float gate = b.gates.data == nullptr ? 1.0F : b.gates.row(i)[h];
      const float mean = dot(b.d_out.row(i) + h * dv, b.out.row(i) + h * dv, dv);
      ScoreSlopes(p, slopes, keys.count, b.lse[i * heads + h], mean, gate, scale);
      if (want_gates) b.d_gates.row(i)[h] = mean;
      for (std::size_t e = 0; e < keys.count; ++e) {
        edge_weights[places[e] * 2 * heads + h] = p[e];
        edge_weights[places[e] * 2 * heads + heads + h] = slopes[e];
      }
      scratch.shares[h] = 1.0F;
    }
    graph::Mix(tag, {scratch.slopes, scratch.stride, 1}, scratch.shares, keys,
               graph::Ahead<T, T>(keys, next), heads, d, false, b.d_q.row(i));
  }
}

#if HALO_GRAPH_HEADS
// What the pass by rows leaves of an edge for the pass by columns, for a group of kHeads heads: the
// gated probabilities and the gradients by score. With keys and values in float32 these are two
// floats a head; in bfloat16 they are rounded to it as well, as are the rows of q and d_out that
// the pass by columns reads: that pass moves half the bytes, which is what it costs. The records of
// the group that starts at head `first` begin at entries * first * kFloats.
template <class T, std::size_t kHeads>
struct Records {
  using Tag = graph::Tag;
  static constexpr std::size_t kFloats = sizeof(T) == 4 ? 2 : 1;  // a head
  static constexpr std::size_t kRecord = kFloats * kHeads;
  static constexpr std::size_t kEdges = graph::kLanes / kHeads;

  // Of a block's first `count` edges, to their places in a slab.
  static HWY_INLINE void Write(graph::Vec weights, graph::Vec slopes, std::size_t count,
                               const std::uint32_t* HWY_RESTRICT places, float* HWY_RESTRICT slab) {
    const Tag tag;
    const hn::RebindToSigned<Tag> ints;
    // Lane x is of edge x / kRecord and head x % kHeads, of the weights or else of the slopes.
    const auto lane = hn::Iota(ints, 0);
    const auto head = hn::And(lane, hn::Set(ints, static_cast<int>(kHeads - 1)));
    const auto from = hn::Add(hn::Mul(head, hn::Set(ints, static_cast<int>(kEdges))),
                              hn::ShiftRight<kBits>(lane));
    const auto index = hn::IndicesFromVec(tag, from);
    if constexpr (kFloats == 1) {
      const hn::RebindToUnsigned<Tag> bits;
      const auto pair = hn::Or(hn::ShiftRight<16>(Rounded(weights)),
                               hn::And(Rounded(slopes), hn::Set(bits, 0xffff0000U)));
      Put(hn::TableLookupLanes(hn::BitCast(tag, pair), index), count, places, slab);
    } else {
      const auto is_slope =
          hn::RebindMask(tag, hn::TestBit(lane, hn::Set(ints, static_cast<int>(kHeads))));
      const auto upper =
          hn::IndicesFromVec(tag, hn::Add(from, hn::Set(ints, static_cast<int>(kEdges / 2))));
      const std::size_t lower = std::min(count, kEdges / 2);
      Put(hn::IfThenElse(is_slope, hn::TableLookupLanes(slopes, index),
                         hn::TableLookupLanes(weights, index)),
          lower, places, slab);
      Put(hn::IfThenElse(is_slope, hn::TableLookupLanes(slopes, upper),
                         hn::TableLookupLanes(weights, upper)),
          count - lower, places + kEdges / 2, slab);
    }
  }

  // A slab of `floats` floats, collected in a cache, to where it is kept: past the caches.
  static HWY_NOINLINE void Stream(const float* HWY_RESTRICT slab, std::size_t floats,
                                  float* HWY_RESTRICT to) {
    const Tag tag;
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): for its alignment
    const std::size_t into = reinterpret_cast<std::uintptr_t>(to) / sizeof(float) % graph::kLanes;
    std::size_t x = std::min(floats, (graph::kLanes - into) % graph::kLanes);
    std::copy_n(slab, x, to);
    for (; x + graph::kLanes <= floats; x += graph::kLanes) {
      hn::Stream(hn::LoadU(tag, slab + x), tag, to + x);
    }
    std::copy_n(slab + x, floats - x, to + x);
  }

  // A record as the pass by columns reads it: a number of one head in every lane.
  class Reader {
   public:
    HWY_INLINE explicit Reader(const float* record) : record_(record) {
      if constexpr (kRecord >= 4) {
        const Tag tag;
        weights_ = hn::LoadDup128(tag, record);
        slopes_ = kRecord == 8 ? hn::LoadDup128(tag, record + 4) : weights_;
        if constexpr (kFloats == 1) weights_ = Lower(weights_), slopes_ = Upper(slopes_);
      }
    }
    HWY_INLINE graph::Vec Weight(std::size_t h) const {
      if constexpr (kRecord >= 4) return Lane(weights_, h);
      const auto x = hn::Set(Tag(), record_[h]);
      return kFloats == 2 ? x : Lower(x);
    }
    HWY_INLINE graph::Vec Slope(std::size_t h) const {
      constexpr std::size_t kFirst = kFloats == 2 ? kHeads : 0;
      if constexpr (kRecord >= 4) return Lane(slopes_, (kFirst + h) % 4);
      const auto x = hn::Set(Tag(), record_[kFirst + h]);
      return kFloats == 2 ? x : Upper(x);
    }

   private:
    // h is known to the compiler: the loops over heads are unrolled.
    static HWY_INLINE graph::Vec Lane(graph::Vec x, std::size_t h) {
      return h == 0   ? hn::Broadcast<0>(x)
             : h == 1 ? hn::Broadcast<1>(x)
             : h == 2 ? hn::Broadcast<2>(x)
                      : hn::Broadcast<3>(x);
    }
    static HWY_INLINE graph::Vec Lower(graph::Vec x) {
      const hn::RebindToUnsigned<Tag> bits;
      return hn::BitCast(Tag(), hn::ShiftLeft<16>(hn::BitCast(bits, x)));
    }
    static HWY_INLINE graph::Vec Upper(graph::Vec x) {
      const hn::RebindToUnsigned<Tag> bits;
      return hn::BitCast(Tag(), hn::And(hn::BitCast(bits, x), hn::Set(bits, 0xffff0000U)));
    }

    const float* record_;
    graph::Vec weights_, slopes_;
  };

 private:
  // The first `count` records of a vector of them.
  static HWY_INLINE void Put(graph::Vec records, std::size_t count,
                             const std::uint32_t* HWY_RESTRICT places, float* HWY_RESTRICT slab) {
    const Tag tag;
    const hn::Half<Tag> half;
    const hn::Half<hn::Half<Tag>> quarter;
    constexpr std::size_t kCount = graph::kLanes / kRecord;
    if (kRecord >= 4 && HWY_LIKELY(count == kCount)) {
      const auto low = hn::LowerHalf(half, records), high = hn::UpperHalf(half, records);
      if constexpr (kRecord == 8) {
        hn::StoreU(low, half, slab + places[0] * kRecord);
        hn::StoreU(high, half, slab + places[1] * kRecord);
      } else if constexpr (kRecord == 4) {
        hn::StoreU(hn::LowerHalf(quarter, low), quarter, slab + places[0] * kRecord);
        hn::StoreU(hn::UpperHalf(quarter, low), quarter, slab + places[1] * kRecord);
        hn::StoreU(hn::LowerHalf(quarter, high), quarter, slab + places[2] * kRecord);
        hn::StoreU(hn::UpperHalf(quarter, high), quarter, slab + places[3] * kRecord);
      }
      return;
    }
    HWY_ALIGN float part[graph::kLanes];
    hn::Store(records, tag, part);
    for (std::size_t e = 0; e < count; ++e) {
      std::copy_n(part + e * kRecord, kRecord, slab + places[e] * kRecord);
    }
  }

  static constexpr int kBits = kRecord == 8 ? 3 : kRecord == 4 ? 2 : kRecord == 2 ? 1 : 0;

  // To nearest, ties to even, in the upper half.
  static HWY_INLINE auto Rounded(graph::Vec x) {
    const hn::RebindToUnsigned<Tag> bits;
    const auto b = hn::BitCast(bits, x);
    const auto odd = hn::And(hn::ShiftRight<16>(b), hn::Set(bits, 1U));
    return hn::Add(b, hn::Add(odd, hn::Set(bits, 0x7fffU)));
  }
};

// kHeads heads from `first` on: the products of a block's edges with keys and values beside the
// query gradient of the block before it.
template <std::size_t kHeads, std::size_t kVecs, class T>
class RowHeads {
  using Group = graph::Heads<kHeads, kVecs, T>;
  using Tag = graph::Tag;
  using Vec = graph::Vec;
  static constexpr std::size_t kEdges = Group::kEdges, kWidth = kHeads * kVecs * graph::kLanes;
  using Edge = Records<T, kHeads>;

 public:
  static HWY_NOINLINE void Run(const BackwardRows<T>& b, std::size_t first, std::size_t begin,
                               std::size_t end, const Scratch& scratch) {
    const std::uint64_t* offsets = b.mask.row_offsets.data();
    const std::size_t column = first * b.shape.d;
    const graph_detail::Rows<T> k{b.k.data + column, b.k.stride}, v{b.v.data + column, b.v.stride};
    float* records = b.edge_weights + b.mask.entries() * Edge::kFloats * first;
    graph_detail::Frontier frontier(b.mask.row_offsets, b.mask.columns.data(), begin);
    for (std::size_t i = begin; i < end; ++i) {
      const auto [reached, reaches] = frontier.advance(i);
      for (std::size_t j = reached; j < reaches; ++j) {
        graph_detail::fetch_early(k.row(j), kWidth);
        graph_detail::fetch_early(v.row(j), kWidth);
      }
      if (i + graph_detail::kRowsAhead < end) FetchOwn(b, first, i + graph_detail::kRowsAhead);
      const std::size_t count = offsets[i + 1] - offsets[i];
      const std::uint32_t* columns = b.mask.columns.data() + offsets[i];
      const std::uint32_t* places = b.transposed->in_slab.data() + offsets[i];
      const std::uint64_t slab = offsets[TransposedEdges::slab_of(i)];
      float* kept = records + slab * Edge::kRecord;
      float* to = b.stream_records ? scratch.slab : kept;
      const RowHeads row(b, first, i);
      // The slopes of a block, and of the one before it, whose edges are added up meanwhile.
      HWY_ALIGN float slopes[2][graph::kLanes];
      typename Group::Sums sums;
      Group::Zero(sums);
      std::size_t e = 0;
      for (; e + kEdges <= count; e += kEdges) {
        const auto [scores, by_weight] = row.template Products<true>(k, v, columns + e, kEdges);
        if (e != 0) Mix(k, columns + e - kEdges, kEdges, slopes[(e / kEdges + 1) % 2], sums);
        row.Finish(scores, by_weight, kEdges, slopes[e / kEdges % 2], places + e, to);
      }
      if (e != 0) Mix(k, columns + e - kEdges, kEdges, slopes[(e / kEdges + 1) % 2], sums);
      if (e < count) {
        const auto [scores, by_weight] = row.template Products<false>(k, v, columns + e, count - e);
        row.Finish(scores, by_weight, count - e, slopes[0], places + e, to);
        Mix(k, columns + e, count - e, slopes[0], sums);
      }
      HALO_UNROLL
      for (std::size_t h = 0; h < kHeads; ++h) {
        graph::WriteFrom<T, kVecs>(sums + h * kVecs, b.stream_q,
                                   b.d_q.row(i) + column + h * kVecs * graph::kLanes);
      }
      if (b.stream_records && (i + 1 == end || TransposedEdges::slab_of(i + 1) == i + 1)) {
        Edge::Stream(to, (offsets[i + 1] - slab) * Edge::kRecord, kept);
      }
    }
    hwy::FlushStream();
  }

 private:
  // What row i has but for its edges.
  static HWY_INLINE void FetchOwn(const BackwardRows<T>& b, std::size_t first, std::size_t i) {
    const std::size_t column = first * b.shape.d;
    graph_detail::fetch_early(b.q.row(i) + column, kWidth);
    graph_detail::fetch_early(b.d_out.row(i) + column, kWidth);
    graph_detail::fetch_early(b.out.row(i) + column, kWidth);
    if (!b.stream_q) graph_detail::fetch_early(b.d_q.row(i) + column, kWidth);
    if (sizeof(T) == 2 && !b.stream_rounded) {
      graph_detail::fetch_early(Copy(b, first, i), 2 * kWidth);
    }
  }

  // Where q and d_out of row i are kept rounded.
  static HWY_INLINE Bf16* Copy(const BackwardRows<T>& b, std::size_t first, std::size_t i) {
    return b.rounded + (i * b.shape.heads + first) * 2 * b.shape.d;
  }

  // Row i: q and d_out in the order in which values are stored, and what its edges share, in every
  // lane of a head. Where the pass by columns reads q and d_out rounded, writes them so.
  HWY_INLINE RowHeads(const BackwardRows<T>& b, std::size_t first, std::size_t i)
      : scale_(hn::Set(Tag(), b.shape.scale)) {
    const float* q = b.q.row(i) + first * b.shape.d;
    const float* d_out = b.d_out.row(i) + first * b.shape.d;
    const float* out = b.out.row(i) + first * b.shape.d;
    Group::Query(q, query_);
    Group::Query(d_out, slope_);
    if constexpr (sizeof(T) == 2) {
      HWY_ALIGN Bf16 copy[2 * kWidth];
      Bf16* to = Copy(b, first, i);
      Bf16* rounded = b.stream_rounded ? copy : to;
      narrow(q, kWidth, rounded);
      narrow(d_out, kWidth, rounded + kWidth);
      if (b.stream_rounded) {
        const hn::Repartition<Bf16, Tag> halves;
        for (std::size_t x = 0; x < 2 * kWidth; x += 2 * graph::kLanes) {
          hn::Stream(hn::Load(halves, copy + x), halves, to + x);
        }
      }
    }
    mean_ = graph::Sums16([&](std::size_t x) HWY_ATTR {
      const std::size_t at = x / kEdges * kVecs * graph::kLanes;
      Vec sum = hn::Zero(Tag());
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) {
        sum = hn::MulAdd(hn::LoadU(Tag(), d_out + at + v * graph::kLanes),
                         hn::LoadU(Tag(), out + at + v * graph::kLanes), sum);
      }
      return sum;
    });
    lse_ = OfHeads(b.lse + i * b.shape.heads + first);
    gate_ = b.gates.data == nullptr ? hn::Set(Tag(), 1.0F) : OfHeads(b.gates.row(i) + first);
    if (b.d_gates.data != nullptr) {
      HWY_ALIGN float lanes[graph::kLanes];
      hn::Store(mean_, Tag(), lanes);
      for (std::size_t h = 0; h < kHeads; ++h) b.d_gates.row(i)[first + h] = lanes[h * kEdges];
    }
  }

  // A number a head, in all its lanes.
  static HWY_INLINE Vec OfHeads(const float* values) {
    HWY_ALIGN float lanes[graph::kLanes];
    for (std::size_t x = 0; x < graph::kLanes; ++x) lanes[x] = values[x / kEdges];
    return hn::Load(Tag(), lanes);
  }

  struct Pair {
    Vec scores, by_weight;
  };
  // Of q with a block's keys and of d_out with its values.
  template <bool kWhole>
  HWY_INLINE Pair Products(const graph_detail::Rows<T>& k, const graph_detail::Rows<T>& v,
                           const std::uint32_t* columns, std::size_t left) const {
    return {Group::template Products<kWhole>(query_, k, columns, left),
            Group::template Products<kWhole>(slope_, v, columns, left)};
  }

  // The records of a block's first `count` edges, and their gradients by score.
  HWY_INLINE void Finish(Vec scores, Vec by_weight, std::size_t count, float* HWY_RESTRICT slopes,
                         const std::uint32_t* HWY_RESTRICT places, float* HWY_RESTRICT slab) const {
    const Tag tag;
    const auto weight = hn::Mul(gate_, simd::exp(tag, hn::MulSub(scale_, scores, lse_)));
    const auto slope = hn::Mul(hn::Mul(scale_, weight), hn::Sub(by_weight, mean_));
    hn::Store(slope, tag, slopes);
    Edge::Write(weight, slope, count, places, slab);
  }

  static HWY_INLINE void Mix(const graph_detail::Rows<T>& k, const std::uint32_t* columns,
                             std::size_t count, const float* HWY_RESTRICT slopes,
                             typename Group::Sums& sums) {
    for (std::size_t u = 0; u < count; ++u) Group::Mix(k.row(columns[u]), slopes, u, sums);
  }

  typename Group::Sums query_, slope_;
  Vec mean_, lse_, gate_, scale_;
};

// kHeads heads from `first` on, of the gradients of keys and values.
template <std::size_t kHeads, std::size_t kVecs, class T>
struct ColumnHeads {
  using Group = graph::Heads<kHeads, kVecs, T>;
  using Edge = Records<T, kHeads>;
  static constexpr std::size_t kWidth = kHeads * kVecs * graph::kLanes;

  static graph_detail::Rows<T> RowsRead(const BackwardColumns<T>& b,
                                        const graph_detail::Rows<float>& rows, std::size_t first,
                                        std::size_t at) {
    if constexpr (sizeof(T) == 4) {
      return {rows.data + first * b.shape.d, rows.stride};
    } else {
      return {b.rounded + first * 2 * b.shape.d + at, b.shape.heads * 2 * b.shape.d};
    }
  }

  static HWY_NOINLINE void Run(const BackwardColumns<T>& b, std::size_t first, std::size_t begin,
                               std::size_t end) {
    constexpr std::size_t kAhead = 32;
    const std::uint64_t* offsets = b.transposed->offsets.data();
    const std::uint64_t* places = b.transposed->places.data();
    const std::uint32_t* rows = b.transposed->rows.data();
    const std::uint64_t total = b.transposed->places.size();
    const float* records = b.edge_weights + total * Edge::kFloats * first;
    const graph_detail::Rows<T> q = RowsRead(b, b.q, first, 0);
    const graph_detail::Rows<T> d_out = RowsRead(b, b.d_out, first, kWidth);
    graph_detail::Frontier frontier(b.transposed->offsets, rows, begin);
    for (std::size_t j = begin; j < end; ++j) {
      const auto [reached, reaches] = frontier.advance(j);
      for (std::size_t i = reached; i < reaches; ++i) {
        graph_detail::fetch_early(q.row(i), kWidth);
        graph_detail::fetch_early(d_out.row(i), kWidth);
      }
      if (const std::size_t later = j + graph_detail::kRowsAhead; !b.stream && later < end) {
        graph_detail::fetch_early(b.d_k.row(later) + first * b.shape.d, kWidth);
        graph_detail::fetch_early(b.d_v.row(later) + first * b.shape.d, kWidth);
      }
      typename Group::Sums keys, values;
      Group::Zero(keys);
      Group::Zero(values);
      const std::uint64_t last = offsets[j + 1];
      for (std::uint64_t x = offsets[j]; x < last; ++x) {
        hwy::Prefetch(records + places[std::min(x + kAhead, total - 1)] * Edge::kRecord);
        const typename Edge::Reader record(records + places[x] * Edge::kRecord);
        Group::Add(
            q.row(rows[x]), [&](std::size_t h) HWY_ATTR { return record.Slope(h); }, keys);
        Group::Add(
            d_out.row(rows[x]), [&](std::size_t h) HWY_ATTR { return record.Weight(h); }, values);
      }
      HALO_UNROLL
      for (std::size_t h = 0; h < kHeads; ++h) {
        const std::size_t at = first * b.shape.d + h * kVecs * graph::kLanes;
        graph::WriteFrom<T, kVecs>(keys + h * kVecs, b.stream, b.d_k.row(j) + at);
        graph::WriteFrom<T, kVecs>(values + h * kVecs, b.stream, b.d_v.row(j) + at);
      }
    }
    hwy::FlushStream();
  }
};
#endif  // HALO_GRAPH_HEADS

template <class T>
void RowsAny(const BackwardRows<T>& b, std::size_t begin, std::size_t end, const Scratch& scratch) {
#if HALO_GRAPH_HEADS
  const auto group = [&](std::size_t first, auto heads, auto vectors) {
    RowHeads<decltype(heads)::value, decltype(vectors)::value, T>::Run(b, first, begin, end,
                                                                       scratch);
  };
  if (graph::ForHeads(b.shape, group)) return;
#endif
  graph::WithTagFor(b.shape, [&](auto tag) HWY_ATTR { RowGradients(tag, b, begin, end, scratch); });
}
void RowsFloat(const BackwardRows<float>& b, std::size_t begin, std::size_t end,
               const Scratch& scratch) {
  RowsAny(b, begin, end, scratch);
}
void RowsHalf(const BackwardRows<Bf16>& b, std::size_t begin, std::size_t end,
              const Scratch& scratch) {
  RowsAny(b, begin, end, scratch);
}

template <class T, class D>
void ColumnGradients(D tag, const BackwardColumns<T>& b, std::size_t begin, std::size_t end,
                     const Scratch& scratch) {
  const auto [heads, d, dv, scale] = b.shape;
  const std::size_t width = 2 * heads;
  const std::uint64_t* places = b.transposed->places.data();
  const std::uint64_t last = b.transposed->offsets[end];
  std::fill_n(scratch.shares, heads, 1.0F);
  for (std::size_t j = begin; j < end; ++j) {
    const Edges<float> queries = b.edges(b.q, j, heads * d);
    const Edges<float> slopes = b.edges(b.d_out, j, heads * dv);
    const std::uint64_t first = b.transposed->offsets[j];
    float* weights = scratch.weights;  // [edge][2 heads]: weights and slopes are one piece
    for (std::size_t e = 0; e < queries.count; ++e) {
      const std::uint64_t later = std::min<std::uint64_t>(first + e + 64, last - 1);
      hwy::Prefetch(b.edge_weights + places[later] * width);
      std::memcpy(weights + e * width, b.edge_weights + places[first + e] * width,
                  width * sizeof(float));
    }
    const Edges<float> next = j + 1 < end ? b.edges(b.q, j + 1, heads * d) : Edges<float>{};
    graph::Mix(tag, {weights + heads, 1, width}, scratch.shares, queries,
               graph::Ahead<float, float>(queries, slopes), heads, d, false, b.d_k.row(j));
    graph::Mix(tag, {weights, 1, width}, scratch.shares, slopes,
               graph::Ahead<float, float>(slopes, next), heads, dv, false, b.d_v.row(j));
  }
}

template <class T>
void ColumnsAny(const BackwardColumns<T>& b, std::size_t begin, std::size_t end,
                const Scratch& scratch) {
#if HALO_GRAPH_HEADS
  const auto group = [&](std::size_t first, auto heads, auto vectors) {
    ColumnHeads<decltype(heads)::value, decltype(vectors)::value, T>::Run(b, first, begin, end);
  };
  if (graph::ForHeads(b.shape, group)) return;
#endif
  graph::WithTagFor(b.shape,
                    [&](auto tag) HWY_ATTR { ColumnGradients(tag, b, begin, end, scratch); });
}
void ColumnsFloat(const BackwardColumns<float>& b, std::size_t begin, std::size_t end,
                  const Scratch& scratch) {
  ColumnsAny(b, begin, end, scratch);
}
void ColumnsHalf(const BackwardColumns<Bf16>& b, std::size_t begin, std::size_t end,
                 const Scratch& scratch) {
  ColumnsAny(b, begin, end, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "halo/core/kernels/graph_blocks.h"

namespace halo::kernels {

HWY_EXPORT(RowsFloat);
HWY_EXPORT(RowsHalf);
HWY_EXPORT(ColumnsFloat);
HWY_EXPORT(ColumnsHalf);

namespace {

using graph_detail::rows_of;
using graph_detail::Scratch;

// From so many floats on, what a pass writes is written past the caches: it would be gone from them
// before it is read, and push out the rows that the pass gathers.
constexpr std::size_t kStreamedFrom = std::size_t{1} << 21U;

// Whether to write so; that needs whole cache lines.
bool streamed(const MatrixSpan& m) {
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): for its alignment
  const bool aligned = reinterpret_cast<std::uintptr_t>(m.data) % 64 == 0;
  return aligned && m.stride % 16 == 0 && m.rows * m.stride >= kStreamedFrom;
}

template <class T, class Keys, class RowsKernel, class ColumnsKernel>
void backward(const MatrixView& q, const Keys& k, const Keys& v, const CsrView& mask,
              const TransposedEdges& edges, const GraphAttentionOptions& options,
              const GraphForward& saved, const MatrixView& d_out, const GraphGradients& gradients,
              GraphWorkspace& workspace, const Executor& executor, RowsKernel rows_kernel,
              ColumnsKernel columns_kernel) {
  const graph_detail::Shape shape = graph_detail::shape_of(options, q.cols, v.cols);
  assert(k.cols == q.cols && mask.rows() == q.rows);
  assert(mask.num_columns == k.rows);
  assert(v.rows == k.rows);
  assert(d_out.rows == q.rows && d_out.cols == v.cols);
  assert(edges.places.size() == mask.entries() && edges.offsets.size() == mask.num_columns + 1);
  Matrix own_out;
  std::vector<float> own_lse;
  MatrixView out = saved.out;
  std::span<const float> lse = saved.lse;
  if (lse.empty()) {
    own_out = Matrix(q.rows, d_out.cols);
    own_lse.resize(q.rows * shape.heads);
    graph_attention_forward(q, k, v, mask, {.heads = options.heads, .scale = options.scale},
                            own_out, own_lse, executor);
    out = own_out;
    lse = own_lse;
  }
  assert(out.rows == q.rows && out.cols == d_out.cols && lse.size() == q.rows * shape.heads);
  // In whole cache lines, so that the copies begin with one.
  const std::size_t records = (mask.entries() * 2 * shape.heads + 15) / 16 * 16;
  const std::size_t copies = sizeof(T) == 2 ? q.rows * shape.heads * shape.d : 0;  // of two halves
  float* edge_weights = workspace.resize(records + copies);
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): room of its own in the workspace
  auto* rounded = reinterpret_cast<Bf16*>(edge_weights + records);
  const bool stream_records = records >= kStreamedFrom;
  const std::size_t slab =
      stream_records ? graph_detail::widest_slab(mask.row_offsets) * 2 * shape.heads : 0;
  const graph_detail::BackwardRows<T> by_row{shape,
                                             rows_of(q),
                                             rows_of(d_out),
                                             rows_of(k),
                                             rows_of(v),
                                             mask,
                                             options.gates,
                                             rows_of(out),
                                             lse.data(),
                                             gradients.q,
                                             gradients.gates,
                                             &edges,
                                             edge_weights,
                                             rounded,
                                             streamed(gradients.q),
                                             stream_records,
                                             copies >= kStreamedFrom};
  graph_detail::for_each_block(q.rows, graph_detail::longest(mask.row_offsets), shape.heads, slab,
                               executor,
                               [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                                 rows_kernel(by_row, begin, end, scratch);
                               });
  const graph_detail::BackwardColumns<T> by_column{
      shape,        rows_of(q),  rows_of(d_out),
      &edges,       gradients.k, gradients.v,
      edge_weights, rounded,     streamed(gradients.k) && streamed(gradients.v)};
  graph_detail::for_each_block(k.rows, graph_detail::longest(edges.offsets), shape.heads, 0,
                               executor,
                               [&](std::size_t begin, std::size_t end, const Scratch& scratch) {
                                 columns_kernel(by_column, begin, end, scratch);
                               });
}

}  // namespace

void graph_attention_backward(const MatrixView& q, const MatrixView& k, const MatrixView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const GraphForward& saved,
                              const MatrixView& d_out, const GraphGradients& gradients,
                              GraphWorkspace& workspace, const Executor& executor) {
  backward<float>(q, k, v, mask, edges, options, saved, d_out, gradients, workspace, executor,
                  HWY_DYNAMIC_DISPATCH(RowsFloat), HWY_DYNAMIC_DISPATCH(ColumnsFloat));
}

void graph_attention_backward(const MatrixView& q, const HalfView& k, const HalfView& v,
                              const CsrView& mask, const TransposedEdges& edges,
                              const GraphAttentionOptions& options, const GraphForward& saved,
                              const MatrixView& d_out, const GraphGradients& gradients,
                              GraphWorkspace& workspace, const Executor& executor) {
  backward<Bf16>(q, k, v, mask, edges, options, saved, d_out, gradients, workspace, executor,
                 HWY_DYNAMIC_DISPATCH(RowsHalf), HWY_DYNAMIC_DISPATCH(ColumnsHalf));
}

}  // namespace halo::kernels
#endif  // HWY_ONCE
