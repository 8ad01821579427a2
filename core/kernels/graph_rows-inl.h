// The rows that an edge list names, and fetching those of the next pass while this one computes.
// Compiled once for each instruction set; included by a kernel's .cpp after <hwy/foreach_target.h>.
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
  std::size_t stride;               // floats a head in weights, slopes and spare
  float *weights, *slopes, *spare;  // [heads][stride]
  float* shares;                    // [heads]
  float* slab;                      // what for_each_block was asked for
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
