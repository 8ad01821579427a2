// Graph attention on 512-bit vectors, for heads of 16, 32, 64 or 128 values: several heads at a
// time, whose queries, sums and weights stay in registers, and blocks of edges whose 16 scores
// come out of one tree of additions. Compiled once for each instruction set (empty where vectors
// are shorter); included by a kernel's .cpp after <hwy/foreach_target.h>.
//
// A block holds kEdges = 16 / kHeads edges: the score of its edge e and head h is at
// h * kEdges + e.
//
// Thread-safety: pure functions. Nothing is checked.
#include <hwy/highway.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "halo/core/half_matrix.h"
#include "halo/core/kernels/graph_rows-inl.h"
#include "halo/core/kernels/simd-inl.h"

#if defined(HALO_CORE_KERNELS_GRAPH_HEADS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HALO_CORE_KERNELS_GRAPH_HEADS_INL_H_
#undef HALO_CORE_KERNELS_GRAPH_HEADS_INL_H_
#else
#define HALO_CORE_KERNELS_GRAPH_HEADS_INL_H_
#endif

#undef HALO_GRAPH_HEADS
#if HWY_ARCH_X86 && HWY_MAX_BYTES == 64
#define HALO_GRAPH_HEADS 1
#else
#define HALO_GRAPH_HEADS 0
#endif

HWY_BEFORE_NAMESPACE();
namespace halo::kernels {
namespace HWY_NAMESPACE {
namespace graph {
#if HALO_GRAPH_HEADS
namespace hn = hwy::HWY_NAMESPACE;
using graph_detail::Rows;
using graph_detail::Shape;

using Tag = hn::FixedTag<float, 16>;
using Vec = hn::Vec<Tag>;
constexpr std::size_t kLanes = 16;

// [a's sums of lanes 8 apart, b's].
HWY_INLINE Vec Fold8(Vec a, Vec b) {
  const Tag tag;
  return hn::Add(hn::ConcatUpperLower(tag, b, a), hn::ConcatLowerUpper(tag, b, a));
}
// The same 4 lanes apart, in blocks a b a b.
HWY_INLINE Vec Fold4(Vec a, Vec b) {
  return hn::Add(hn::OddEvenBlocks(b, a), hn::SwapAdjacentBlocks(hn::OddEvenBlocks(a, b)));
}
// 2 lanes apart, in pairs a b.
HWY_INLINE Vec Fold2(Vec a, Vec b) {
  const Tag tag;
  const hn::RepartitionToWide<Tag> wide;
  const Vec kept = hn::BitCast(tag, hn::OddEven(hn::BitCast(wide, b), hn::BitCast(wide, a)));
  return hn::Add(kept, hn::CombineShiftRightBytes<8>(tag, b, a));
}
// Neighbours, in lanes a b.
HWY_INLINE Vec Fold1(Vec a, Vec b) {
  const Tag tag;
  return hn::Add(hn::OddEven(b, a), hn::Reverse2(tag, hn::OddEven(a, b)));
}

// Lane i is the sum of the lanes of vector(i).
template <class Vector>
HWY_INLINE Vec Sums16(const Vector& vector) {
  Vec part[4];
  HALO_UNROLL
  for (std::size_t i = 0; i < 4; ++i) {
    const Vec low = Fold8(vector(i), vector(i + 8));
    part[i] = Fold4(low, Fold8(vector(i + 4), vector(i + 12)));
  }
  return Fold1(Fold2(part[0], part[2]), Fold2(part[1], part[3]));
}

// kVecs vectors of one head of a row. Two vectors of bfloat16 are split into even and odd values: a
// shift and a mask instead of shuffles. as_stored and store_from bring float32 into that order and
// back.
template <class T, std::size_t kVecs>
constexpr bool kSplit = sizeof(T) == 2 && kVecs % 2 == 0;

template <class T, std::size_t kVecs>
HWY_INLINE void LoadHead(const T* HWY_RESTRICT row, Vec (&to)[kVecs]) {
  const Tag tag;
  if constexpr (kSplit<T, kVecs>) {
    const hn::Repartition<std::uint16_t, Tag> halves;
    const hn::RebindToUnsigned<Tag> bits;
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; v += 2) {
      const auto pair = hn::BitCast(bits, hn::LoadU(halves, row + v * kLanes));
      to[v] = hn::BitCast(tag, hn::ShiftLeft<16>(pair));
      to[v + 1] = hn::BitCast(tag, hn::And(pair, hn::Set(bits, 0xffff0000U)));
    }
  } else {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) to[v] = simd::load(tag, row + v * kLanes);
  }
}

template <class T, std::size_t kVecs>
HWY_INLINE void AsStored(const float* HWY_RESTRICT row, Vec* to) {
  const Tag tag;
  if constexpr (kSplit<T, kVecs>) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; v += 2) {
      hn::LoadInterleaved2(tag, row + v * kLanes, to[v], to[v + 1]);
    }
  } else {
    HALO_UNROLL
    for (std::size_t v = 0; v < kVecs; ++v) to[v] = hn::LoadU(tag, row + v * kLanes);
  }
}

// The sums in plain order.
template <class T, std::size_t kVecs>
HWY_INLINE void InOrder(const Vec* sums, float (&plain)[kVecs * kLanes]) {
  const Tag tag;
  HALO_UNROLL
  for (std::size_t v = 0; v < kVecs; ++v) {
    if constexpr (kSplit<T, kVecs>) {
      if (v % 2 == 0) hn::StoreInterleaved2(sums[v], sums[v + 1], tag, plain + v * kLanes);
    } else {
      hn::Store(sums[v], tag, plain + v * kLanes);
    }
  }
}

// out = share * sums, added to `out` where asked.
template <class T, std::size_t kVecs>
HWY_INLINE void StoreFrom(const Vec* sums, float share, bool add, float* HWY_RESTRICT out) {
  const Tag tag;
  HWY_ALIGN float plain[kVecs * kLanes];
  InOrder<T, kVecs>(sums, plain);
  const Vec by = hn::Set(tag, share);
  HALO_UNROLL
  for (std::size_t v = 0; v < kVecs; ++v) {
    float* to = out + v * kLanes;
    const Vec before = add ? hn::LoadU(tag, to) : hn::Zero(tag);
    hn::StoreU(hn::MulAdd(by, hn::Load(tag, plain + v * kLanes), before), tag, to);
  }
}

// out = sums; where asked, past the caches: out is then aligned to whole vectors.
template <class T, std::size_t kVecs>
HWY_INLINE void WriteFrom(const Vec* sums, bool past_caches, float* HWY_RESTRICT out) {
  const Tag tag;
  HWY_ALIGN float plain[kVecs * kLanes];
  InOrder<T, kVecs>(sums, plain);
  HALO_UNROLL
  for (std::size_t v = 0; v < kVecs; ++v) {
    const Vec values = hn::Load(tag, plain + v * kLanes);
    if (past_caches) {
      hn::Stream(values, tag, out + v * kLanes);
    } else {
      hn::StoreU(values, tag, out + v * kLanes);
    }
  }
}

// kHeads heads of kVecs vectors each: what one pass over a row's edges works on.
template <std::size_t kHeads, std::size_t kVecs, class T>
struct Heads {
  static constexpr std::size_t kEdges = kLanes / kHeads, kWidth = kHeads * kVecs;
  using Sums = Vec[kWidth];

  HWY_INLINE static void Query(const float* HWY_RESTRICT row, Sums& to) {
    HALO_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) {
      AsStored<T, kVecs>(row + h * kVecs * kLanes, to + h * kVecs);
    }
  }

  // The 16 products of x with the rows of a block's edges. Unless kWhole, the block may have fewer
  // than kEdges of them, `left`: the last one stands in for the others.
  template <bool kWhole, class Query>
  HWY_INLINE static Vec Products(const Query& x, const Rows<T>& rows,
                                 const std::uint32_t* HWY_RESTRICT columns, std::size_t left) {
    const T* row[kEdges];
    HALO_UNROLL
    for (std::size_t e = 0; e < kEdges; ++e) {
      row[e] = rows.row(columns[kWhole ? e : std::min(e, left - 1)]);
      // Keeps GCC from computing addresses in vectors, whose way back to the loads is long.
      asm("" : "+r"(row[e]));
    }
    return Sums16([&](std::size_t i) HWY_ATTR {
      const std::size_t h = i / kEdges;
      Vec values[kVecs];
      LoadHead<T, kVecs>(row[i % kEdges] + h * kVecs * kLanes, values);
      Vec sum = hn::Mul(x[h * kVecs], values[0]);
      HALO_UNROLL
      for (std::size_t v = 1; v < kVecs; ++v) sum = hn::MulAdd(x[h * kVecs + v], values[v], sum);
      return sum;
    });
  }

  // sums += weight(h) * row, head by head.
  template <class Weight>
  HWY_INLINE static void Add(const T* HWY_RESTRICT row, const Weight& weight, Sums& sums) {
    HALO_UNROLL
    for (std::size_t h = 0; h < kHeads; ++h) {
      const Vec by = weight(h);
      Vec values[kVecs];
      LoadHead<T, kVecs>(row + h * kVecs * kLanes, values);
      HALO_UNROLL
      for (std::size_t v = 0; v < kVecs; ++v) {
        sums[h * kVecs + v] = hn::MulAdd(by, values[v], sums[h * kVecs + v]);
      }
    }
  }
  // The same with a block's weights: of edge e of the row, where its block begins at a multiple of
  // kEdges.
  HWY_INLINE static void Mix(const T* HWY_RESTRICT row, const float* HWY_RESTRICT weights,
                             std::size_t e, Sums& sums) {
    const float* of_edge = weights + e / kEdges * kLanes + e % kEdges;
    Add(
        row, [&](std::size_t h) HWY_ATTR { return hn::Set(Tag(), of_edge[h * kEdges]); }, sums);
  }

  HWY_INLINE static void Zero(Sums& sums) {
    HALO_UNROLL
    for (std::size_t v = 0; v < kWidth; ++v) sums[v] = hn::Zero(Tag());
  }

  // Every lane becomes the largest, the smallest or the sum of its head's lanes.
  template <class Combine>
  HWY_INLINE static Vec OfHead(Vec x, const Combine& combine) {
    const Tag tag;
    x = combine(x, hn::Shuffle2301(x));
    x = combine(x, hn::Shuffle1032(x));
    if constexpr (kEdges >= 8) x = combine(x, hn::SwapAdjacentBlocks(x));
    if constexpr (kEdges >= 16) x = combine(x, hn::ConcatLowerUpper(tag, x, x));
    return x;
  }
  HWY_INLINE static Vec MaxOfHead(Vec x) {
    return OfHead(x, [](Vec a, Vec b) HWY_ATTR { return hn::Max(a, b); });
  }
  HWY_INLINE static Vec MinOfHead(Vec x) {
    return OfHead(x, [](Vec a, Vec b) HWY_ATTR { return hn::Min(a, b); });
  }
  HWY_INLINE static Vec SumOfHead(Vec x) {
    return OfHead(x, [](Vec a, Vec b) HWY_ATTR { return hn::Add(a, b); });
  }

  // The lanes of a block's first `left` edges.
  HWY_INLINE static auto Within(std::size_t left) {
    const hn::RebindToSigned<Tag> ints;
    const auto edge = hn::And(hn::Iota(ints, 0), hn::Set(ints, static_cast<int>(kEdges - 1)));
    return hn::MaskFromVec(hn::BitCast(
        Tag(), hn::VecFromMask(ints, hn::Lt(edge, hn::Set(ints, static_cast<int>(left))))));
  }
};

constexpr std::size_t blocks_of(std::size_t count, std::size_t edges) {
  return (count + edges - 1) / edges;
}

// What fits in registers: 8 vectors of queries and 8 of sums. Calls body with the constants of the
// group that starts at head `first`; returns its heads, 0 where heads have another shape.
template <class Body>
HWY_INLINE std::size_t WithHeadsAt(const Shape& shape, std::size_t first, const Body& body) {
  if (shape.d != shape.dv) return 0;
  const auto run = [&](auto heads, auto vectors) HWY_ATTR {
    body(heads, vectors);
    return decltype(heads)::value;
  };
  using One = std::integral_constant<std::size_t, 1>;
  using Two = std::integral_constant<std::size_t, 2>;
  using Four = std::integral_constant<std::size_t, 4>;
  const std::size_t left = shape.heads - first;
  switch (shape.d) {
    case kLanes:
      return left >= 4 ? run(Four(), One()) : run(One(), One());
    case 2 * kLanes:
      return left >= 4 ? run(Four(), Two()) : run(One(), Two());
    case 4 * kLanes:
      return left >= 2 ? run(Two(), Four()) : run(One(), Four());
    case 8 * kLanes:
      return run(One(), std::integral_constant<std::size_t, 8>());
    default:
      return 0;
  }
}
#endif  // HALO_GRAPH_HEADS

// Calls body(first head, constants) for groups that cover all heads; false where there is no such
// kernel for their shape.
template <class Body>
HWY_INLINE bool ForHeads(const Shape& shape, const Body& body) {
#if HALO_GRAPH_HEADS
  for (std::size_t first = 0; first < shape.heads;) {
    const std::size_t done =
        WithHeadsAt(shape, first, [&](auto heads, auto vectors) { body(first, heads, vectors); });
    if (done == 0) return false;
    first += done;
  }
  return true;
#else
  static_cast<void>(shape);
  static_cast<void>(body);
  return false;
#endif
}

}  // namespace graph
}  // namespace HWY_NAMESPACE
}  // namespace halo::kernels
HWY_AFTER_NAMESPACE();

#endif  // HALO_CORE_KERNELS_GRAPH_HEADS_INL_H_
