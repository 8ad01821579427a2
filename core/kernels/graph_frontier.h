// Fetching rows from memory before lists of indices reach them for the first time. In a locality
// order that happens in sequence, at an edge of the graph that moves forward list by list; out of
// order it fetches little and does no harm.
//
// Private to the graph kernels. Thread-safety: one object a thread.
#pragma once

#include <hwy/base.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace halo::kernels::graph_detail {

class Frontier {
 public:
  // Lists i hold the ascending indices [offsets[i], offsets[i + 1]); the first asked for is
  // `begin`.
  Frontier(std::span<const std::uint64_t> offsets, const std::uint32_t* indices, std::size_t begin)
      : offsets_(offsets.data()), indices_(indices), lists_(offsets.size() - 1) {
    const std::size_t average = offsets.back() / std::max<std::size_t>(lists_, 1);
    lead_ = std::clamp<std::size_t>(kLeadEntries / (average + 1), 8, 256);
    for (std::size_t i = begin + lead_ - std::min(lead_, kLookBack); i < begin + lead_; ++i) {
      reached_ = std::max(reached_, end_of(i));
    }
  }

  // The rows [first, last) that a list `lead` behind list i is the first to reach.
  struct Range {
    std::size_t first, last;
  };
  Range advance(std::size_t i) {
    const std::size_t later = i + lead_ + kIndicesAhead;
    if (later < lists_) __builtin_prefetch(indices_ + offsets_[later]);
    const std::size_t end = end_of(i + lead_), first = reached_;
    if (end <= first) return {};
    reached_ = end;
    return end - first <= kMostRows ? Range{first, end} : Range{};
  }

 private:
  static constexpr std::size_t kLeadEntries = 8192, kLookBack = 64, kMostRows = 64,
                               kIndicesAhead = 32;

  // One behind the last index of list i.
  std::size_t end_of(std::size_t i) const {
    if (i >= lists_ || offsets_[i] == offsets_[i + 1]) return 0;
    return std::size_t{indices_[offsets_[i + 1] - 1]} + 1;
  }

  const std::uint64_t* offsets_;
  const std::uint32_t* indices_;
  std::size_t lists_, lead_ = 0, reached_ = 0;
};

// Into the second-level cache: `count` values of row `row`. Inlined, since GCC 12 takes a function
// that only prefetches for one without effects, and drops its calls.
template <class T>
HWY_INLINE void fetch_early(const T* row, std::size_t count) {
  constexpr std::size_t kLine = 64 / sizeof(T);
  for (std::size_t c = 0; c < count; c += kLine) __builtin_prefetch(row + c, 0, 2);
}

// How many rows ahead a pass fetches what it reads and writes row by row. The hardware follows only
// a few such streams, each up to the end of a page, and these passes have up to eight.
constexpr std::size_t kRowsAhead = 8;

}  // namespace halo::kernels::graph_detail
