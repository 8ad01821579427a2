// What graph attention does with the rows that an edge list names, for all heads of a row: dot
// products, weighted sums, and fetching the rows of the next pass while this one computes. Compiled
// once for each instruction set; included by a kernel's .cpp after <hwy/foreach_target.h>.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "halo/core/half_matrix.h"
#include "halo/core/kernels/simd-inl.h"

#ifndef HALO_CORE_KERNELS_GRAPH_ROWS_ONCE
#define HALO_CORE_KERNELS_GRAPH_ROWS_ONCE
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

// Rows of `values` entries named by an edge list.
template <class T>
struct Edges {
  Rows<T> rows;
  const std::uint32_t* columns = nullptr;
  std::size_t count = 0, values = 0;
  const T* row(std::size_t e) const { return rows.row(columns[e]); }
};

// Weights of the edges for each head: of edge e and head h at data[h * by_head + e * by_edge].
struct Weights {
  float* data;
  std::size_t by_head, by_edge;
};

// What one thread needs for rows of up to `longest` edges.
struct Scratch {
  std::size_t stride;       // floats a head in weights and slopes
  float *weights, *slopes;  // [heads][stride]
  float* shares;            // [heads]
};

}  // namespace halo::kernels::graph_detail
#endif

#if defined(HALO_CORE_KERNELS_GRAPH_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_GRAPH_ROWS_INL_H_
#undef HALO_CORE_KERNELS_GRAPH_ROWS_INL_H_
#else
#define HALO_CORE_KERNELS_GRAPH_ROWS_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace graph {
namespace hn = hwy::HWY_NAMESPACE;
using graph_detail::Edges;
using graph_detail::Shape;
using graph_detail::Weights;

constexpr float kNone = -std::numeric_limits<float>::infinity();

// A pass over `now` fetches the rows that it, and then the pass over `next`, will read: about 16 KB
// ahead, so that what was fetched is still in the first-level cache when it is needed.
template <class Now, class Next>
class Ahead {
 public:
  Ahead(const Edges<Now>& now, const Edges<Next>& next)
      : now_(now), next_(next), distance_(std::min(now.count, distance_of(now))) {
    bounds_ = {0, now.values, 0, next.values};
  }

  // The same for slices [first, first + count) of `slices` equal ones of every row.
  Ahead slice(std::size_t first, std::size_t slices, std::size_t count) const {
    Ahead part = *this;
    part.bounds_ = {first * now_.values / slices, (first + count) * now_.values / slices,
                    first * next_.values / slices, (first + count) * next_.values / slices};
    return part;
  }

  // Called while edge e is used.
  HWY_INLINE void fetch(std::size_t e) const {
    const std::size_t at = e + distance_;
    if (HWY_LIKELY(at < now_.count)) return lines(now_.row(at), bounds_.now_begin, bounds_.now_end);
    std::size_t then = at - now_.count;
    if (then < next_.count) lines(next_.row(then), bounds_.next_begin, bounds_.next_end);
    if (e + 1 < now_.count) return;
    // This pass was shorter than the next one: the rest at once.
    const std::size_t most = std::min(next_.count, distance_of(next_));
    while (++then < most) lines(next_.row(then), bounds_.next_begin, bounds_.next_end);
  }

 private:
  struct Bounds {
    std::size_t now_begin, now_end, next_begin, next_end;
  };
  template <class T>
  static std::size_t distance_of(const Edges<T>& edges) {
    constexpr std::size_t kBytes = 16384, kMost = 64;
    return std::clamp<std::size_t>(kBytes / (sizeof(T) * (edges.values + 1)), 4, kMost);
  }
  template <class T>
  HWY_INLINE static void lines(const T* row, std::size_t begin, std::size_t end) {
    // Every other line: the CPU fetches lines in pairs.
    constexpr std::size_t kPair = 128 / sizeof(T);
    for (std::size_t c = begin; c < end; c += kPair) hwy::Prefetch(row + c);
  }

  Edges<Now> now_;
  Edges<Next> next_;
  std::size_t distance_;
  Bounds bounds_;
};

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

// Passes over a row's edges are not inlined: a sanitised build of them all takes minutes.

// Dots, with the whole vectors of a head, kSteps, known to the compiler where not 0.
template <std::size_t kSteps, class D, class T, class Next>
HWY_NOINLINE void DotsOf(D tag, const float* HWY_RESTRICT x, const Edges<T>& edges,
                         const Ahead<T, Next>& ahead, std::size_t heads, std::size_t d,
                         float* HWY_RESTRICT out, std::size_t stride) {
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t steps = kSteps == 0 ? d / lanes : kSteps, last = edges.count - 1;
  for (std::size_t e = 0; e < edges.count; e += 4) {
    const T* r0 = edges.row(e);
    const T* r1 = edges.row(std::min(e + 1, last));
    const T* r2 = edges.row(std::min(e + 2, last));
    const T* r3 = edges.row(std::min(e + 3, last));
    for (std::size_t i = e; i <= std::min(e + 3, last); ++i) ahead.fetch(i);
    const float* HWY_RESTRICT y = x;
    float* to = out + e;
    for (std::size_t h = 0; h < heads; ++h, to += stride) {
      auto a0 = hn::Zero(tag), a1 = hn::Zero(tag), a2 = hn::Zero(tag), a3 = hn::Zero(tag);
      HALO_UNROLL
      for (std::size_t s = 0; s < steps; ++s) {
        const auto v = hn::LoadU(tag, y + s * lanes);
        a0 = hn::MulAdd(v, simd::load(tag, r0 + s * lanes), a0);
        a1 = hn::MulAdd(v, simd::load(tag, r1 + s * lanes), a1);
        a2 = hn::MulAdd(v, simd::load(tag, r2 + s * lanes), a2);
        a3 = hn::MulAdd(v, simd::load(tag, r3 + s * lanes), a3);
      }
      StoreSums4(tag, a0, a1, a2, a3, to);
      if constexpr (kSteps == 0) {
        for (std::size_t c = steps * lanes; c < d; ++c) {
          to[0] += y[c] * simd::load_one(r0 + c);
          to[1] += y[c] * simd::load_one(r1 + c);
          to[2] += y[c] * simd::load_one(r2 + c);
          to[3] += y[c] * simd::load_one(r3 + c);
        }
      }
      y += d, r0 += d, r1 += d, r2 += d, r3 += d;
    }
  }
}

// out[h * stride + e] = <x, row of edge e> over head h's d values, four edges at a time, every head
// while their rows are at hand; writes up to a multiple of 4 edges.
template <class D, class T, class Next>
HWY_INLINE void Dots(D tag, const float* x, const Edges<T>& edges, const Ahead<T, Next>& ahead,
                     std::size_t heads, std::size_t d, float* out, std::size_t stride) {
  const std::size_t lanes = hn::Lanes(tag);
  if (d == 4 * lanes) return DotsOf<4>(tag, x, edges, ahead, heads, d, out, stride);
  if (d == 8 * lanes) return DotsOf<8>(tag, x, edges, ahead, heads, d, out, stride);
  DotsOf<0>(tag, x, edges, ahead, heads, d, out, stride);
}

// kVecs vectors of sum_e weights[e * by_edge] * rows[e][offset ...], handed to finish(acc); kChains
// edges at a time, so that there are enough independent sums. fetch(e) runs beside.
template <std::size_t kVecs, std::size_t kChains, class D, class T, class Fetch, class Finish>
HWY_INLINE void MixVecs(D tag, const float* HWY_RESTRICT weights, std::size_t by_edge,
                        const Edges<T>& edges, std::size_t offset, const Fetch& fetch,
                        const Finish& finish) {
  const std::size_t lanes = hn::Lanes(tag), count = edges.count;
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
      fetch(e + u);
      const T* row = edges.row(e + u) + offset;
      const auto w = hn::Set(tag, weights[(e + u) * by_edge]);
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) {
        acc[u][v] = hn::MulAdd(w, simd::load(tag, row + v * lanes), acc[u][v]);
      }
    }
  }
  for (; e < count; ++e) {
    fetch(e);
    const T* row = edges.row(e) + offset;
    const auto w = hn::Set(tag, weights[e * by_edge]);
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) {
      acc[0][v] = hn::MulAdd(w, simd::load(tag, row + v * lanes), acc[0][v]);
    }
  }
  HALO_UNROLL
  for (std::size_t v = 0; v < kVecs; ++v) {
    HALO_UNROLL
    for (std::size_t u = 1; u < kChains; ++u) acc[0][v] = hn::Add(acc[0][v], acc[u][v]);
  }
  finish(acc[0]);
}

// The same for kHeads whole heads of kVecs vectors each, their weights by_head apart.
template <std::size_t kHeads, std::size_t kVecs, class D, class T, class Fetch, class Finish>
HWY_INLINE void MixHeads(D tag, const float* HWY_RESTRICT weights, std::size_t by_head,
                         std::size_t by_edge, const Edges<T>& edges, std::size_t offset,
                         const Fetch& fetch, const Finish& finish) {
  const std::size_t lanes = hn::Lanes(tag);
  hn::Vec<D> acc[kHeads][kVecs];
  HALO_UNROLL
  for (std::size_t h = 0; h < kHeads; ++h) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) acc[h][v] = hn::Zero(tag);
  }
  for (std::size_t e = 0; e < edges.count; ++e) {
    fetch(e);
    const T* row = edges.row(e) + offset;
    HALO_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) {
      const auto w = hn::Set(tag, weights[e * by_edge + h * by_head]);
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) {
        acc[h][v] = hn::MulAdd(w, simd::load(tag, row + (h * kVecs + v) * lanes), acc[h][v]);
      }
    }
  }
  HALO_UNROLL
  for (std::size_t h = 0; h < kHeads; ++h) finish(h, acc[h]);
}

// out[h][0 ... d) (+)= by[h] * sum_e weights of e and h * rows[e][h d ...), for every head.
template <class D, class T, class Next>
HWY_NOINLINE void Mix(D tag, const Weights& weights, const float* by, const Edges<T>& edges,
                      const Ahead<T, Next>& ahead, std::size_t heads, std::size_t d, bool add,
                      float* HWY_RESTRICT out) {
  const std::size_t lanes = hn::Lanes(tag);
  const bool pairs = d == 4 * lanes, wide = d == 8 * lanes;
  for (std::size_t h = 0; h < heads; ++h) {
    const float* w = weights.data + h * weights.by_head;
    const std::size_t at_once = pairs && h + 1 < heads ? 2 : 1;
    const auto slice = ahead.slice(h, heads, at_once);
    const auto fetch = [&](std::size_t e) HWY_ATTR { slice.fetch(e); };
    const auto nothing = [](std::size_t) {};
    std::size_t c = h * d;
    const std::size_t end = c + d;
    const auto write = [&](std::size_t head, float* first, const auto& acc) HWY_ATTR {
      const auto share = hn::Set(tag, by[head]);
      HALO_UNROLL
      for (std::size_t v = 0; v < sizeof(acc) / sizeof(acc[0]); ++v) {
        float* to = first + v * lanes;
        const auto before = add ? hn::LoadU(tag, to) : hn::Zero(tag);
        hn::StoreU(hn::MulAdd(share, acc[v], before), tag, to);
      }
    };
    const auto whole = [&](std::size_t head, const auto& acc)
                           HWY_ATTR { write(h + head, out + c + head * d, acc); };
    if (at_once == 2) {
      MixHeads<2, 4>(tag, w, weights.by_head, weights.by_edge, edges, c, fetch, whole);
      ++h;
      continue;
    }
    if (wide) {
      MixHeads<1, 8>(tag, w, weights.by_head, weights.by_edge, edges, c, fetch, whole);
      continue;
    }
    const auto store = [&](const auto& acc) HWY_ATTR { write(h, out + c, acc); };
    if (c + 4 * lanes <= end) {
      MixVecs<4, 2>(tag, w, weights.by_edge, edges, c, fetch, store);
      c += 4 * lanes;
    } else {
      for (std::size_t e = 0; e < edges.count; ++e) fetch(e);
    }
    for (; c + 4 * lanes <= end; c += 4 * lanes) {
      MixVecs<4, 2>(tag, w, weights.by_edge, edges, c, nothing, store);
    }
    for (; c + 2 * lanes <= end; c += 2 * lanes) {
      MixVecs<2, 4>(tag, w, weights.by_edge, edges, c, nothing, store);
    }
    for (; c + lanes <= end; c += lanes) {
      MixVecs<1, 4>(tag, w, weights.by_edge, edges, c, nothing, store);
    }
    for (; c < end; ++c) {
      float sum = 0.0F;
      for (std::size_t e = 0; e < edges.count; ++e) {
        sum += w[e * weights.by_edge] * simd::load_one(edges.row(e) + c);
      }
      out[c] = (add ? out[c] : 0.0F) + by[h] * sum;
    }
  }
}

// x <- e^(scale x - max), and their sum, over `count` > 0 values; writes zeros up to a whole vector
// behind them.
struct Exponentials {
  float max, sum;
};
HWY_NOINLINE inline Exponentials ExponentialsOf(float* x, std::size_t count, float scale) {
  const hn::ScalableTag<float> tag;
  const std::size_t lanes = hn::Lanes(tag);
  const std::size_t full = count / lanes * lanes, whole = (count + lanes - 1) / lanes * lanes;
  for (std::size_t i = count; i < whole; ++i) x[i] = x[0];
  const auto by = hn::Set(tag, scale);
  auto high = hn::Set(tag, kNone);
  for (std::size_t i = 0; i < whole; i += lanes) {
    // Stored, so that the compiler cannot fuse the product with the subtraction below: the largest
    // must give e^0 = 1 exactly.
    const auto scaled = hn::Mul(by, hn::LoadU(tag, x + i));
    hn::StoreU(scaled, tag, x + i);
    high = hn::Max(high, scaled);
  }
  const auto shift = hn::MaxOfLanes(tag, high);
  auto total = hn::Zero(tag);
  for (std::size_t i = 0; i < whole; i += lanes) {
    auto e = simd::exp(tag, hn::Sub(hn::LoadU(tag, x + i), shift));
    if (i == full) e = hn::IfThenElseZero(hn::FirstN(tag, count - full), e);
    hn::StoreU(e, tag, x + i);
    total = hn::Add(total, e);
  }
  return {hn::GetLane(shift), hn::GetLane(hn::SumOfLanes(tag, total))};
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

}  // namespace graph
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_GRAPH_ROWS_INL_H_
