#include "neighbour_lists.h"

#include <algorithm>
#include <utility>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/gemm.h"

namespace halo::bench {
namespace {

constexpr std::size_t kBlock = 256;

using Scored = std::pair<float, NodeId>;

bool nearer(const Scored& a, const Scored& b) {
  return a.first != b.first ? a.first > b.first : a.second < b.second;
}

// The nearest of a row of similarities, the row's own node first.
void take_nearest(std::span<const float> sims, std::size_t self, std::vector<Scored>& scratch,
                  NeighbourLists& lists) {
  scratch.clear();
  for (std::size_t j = 0; j < sims.size(); ++j) {
    if (j != self) scratch.emplace_back(sims[j], static_cast<NodeId>(j));
  }
  const std::size_t others = lists.depth - 1;
  std::partial_sort(scratch.begin(), scratch.begin() + static_cast<std::ptrdiff_t>(others),
                    scratch.end(), nearer);
  const std::size_t at = self * lists.depth;
  lists.ids[at] = static_cast<NodeId>(self);
  lists.sims[at] = sims[self];
  for (std::size_t r = 0; r < others; ++r) {
    lists.sims[at + 1 + r] = scratch[r].first;
    lists.ids[at + 1 + r] = scratch[r].second;
  }
  lists.farthest[self] = *std::min_element(sims.begin(), sims.end());
}

// Puts `guest` where it belongs in the list of base node `i`; the last of the list falls out.
void insert(NeighbourLists& lists, std::size_t i, NodeId guest, float sim) {
  lists.farthest[i] = std::min(lists.farthest[i], sim);
  const std::size_t begin = i * lists.depth;
  std::size_t place = begin + lists.depth;
  while (place > begin + 1 && lists.sims[place - 1] < sim) --place;
  if (place == begin + lists.depth) return;
  for (std::size_t at = begin + lists.depth - 1; at > place; --at) {
    lists.sims[at] = lists.sims[at - 1];
    lists.ids[at] = lists.ids[at - 1];
  }
  lists.sims[place] = sim;
  lists.ids[place] = guest;
}

}  // namespace

NeighbourLists exact_neighbours(const MatrixView& vectors, std::size_t depth,
                                const Executor& executor) {
  const std::size_t n = vectors.rows;
  NeighbourLists lists;
  lists.depth = std::min(depth, n);
  lists.ids.resize(n * lists.depth);
  lists.sims.resize(n * lists.depth);
  lists.farthest.resize(n);
  Matrix sims(std::min(kBlock, n), n);
  for (std::size_t first = 0; first < n; first += kBlock) {
    const std::size_t rows = std::min(kBlock, n - first);
    const MatrixSpan block{sims.data(), rows, n, sims.stride()};
    kernels::gemm_nt(vectors.sub_rows(first, rows), vectors, block, executor);
    executor.parallel_for(rows, 16, [&](std::size_t begin, std::size_t end) {
      std::vector<Scored> scratch;
      for (std::size_t i = begin; i < end; ++i) {
        take_nearest(block.row_span(i), first + i, scratch, lists);
      }
    });
  }
  return lists;
}

NeighbourLists join(const NeighbourLists& base, const MatrixView& to_base,
                    const MatrixView& to_guests) {
  const std::size_t n = base.rows(), guests = to_base.rows;
  NeighbourLists joined = base;
  joined.ids.resize((n + guests) * base.depth);
  joined.sims.resize((n + guests) * base.depth);
  joined.farthest.resize(n + guests);
  std::vector<float> sims(n + guests);
  std::vector<Scored> scratch;
  for (std::size_t g = 0; g < guests; ++g) {
    for (std::size_t i = 0; i < n; ++i) {
      insert(joined, i, static_cast<NodeId>(n + g), to_base.row(g)[i]);
    }
    std::copy_n(to_base.row(g), n, sims.begin());
    std::copy_n(to_guests.row(g), guests, sims.begin() + static_cast<std::ptrdiff_t>(n));
    take_nearest(sims, n + g, scratch, joined);
  }
  return joined;
}

float Nodes::similarity(std::size_t a, std::size_t b) const {
  return kernels::dot(vector(a), vector(b), base.cols);
}

}  // namespace halo::bench
