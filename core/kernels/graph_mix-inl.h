// Weighted sums of the rows that an edge list names, for every head. Compiled once for each
// instruction set; included by a kernel's .cpp after <hwy/foreach_target.h>.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/highway.h>

#include <cstddef>

#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/simd-inl.h"

#if defined(HALO_CORE_KERNELS_GRAPH_MIX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_GRAPH_MIX_INL_H_
#undef HALO_CORE_KERNELS_GRAPH_MIX_INL_H_
#else
#define HALO_CORE_KERNELS_GRAPH_MIX_INL_H_
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace graph {
namespace hn = hwy::HWY_NAMESPACE;

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

}  // namespace graph
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_GRAPH_MIX_INL_H_
