// How a filtered search is answered: which of three ways is cheapest, and what two of them need.
//
//   kScan    every allowed node is scored: few are allowed
//   kBridge  the walk stays on allowed nodes; where a neighbour is not allowed, its neighbours
//   stand
//            in for it (Patel et al., "ACORN: performant and predicate-agnostic search over vector
//            embeddings and structured data", 2024, the variant without a denser graph)
//   kWiden   the plain walk with more candidates, of which the allowed ones are kept: most are
//
// Thread-safety: one scratch a thread. Private to the index room.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/index/detail/graph_walk.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {

enum class FilterPlan { kScan, kBridge, kWiden };

/// The share of nodes that `filter` allows: counted for bits, estimated on nodes spread over the
/// index for a predicate, and never 0 or above 1.
inline double allowed_share(const Filter& filter, std::size_t size) {
  constexpr std::size_t kSample = 256;
  const auto n = static_cast<double>(size);
  if (const auto count = filter.count()) {
    return std::clamp(static_cast<double>(*count) / n, 0.5 / n, 1.0);
  }
  const std::size_t sample = std::min(size, kSample);
  std::size_t allowed = 0;
  for (std::size_t i = 0; i < sample; ++i) {
    allowed += filter.allows(static_cast<Node>(i * size / sample)) ? 1 : 0;
  }
  return (static_cast<double>(allowed) + 0.5) / (static_cast<double>(sample) + 1);
}

/// As many candidates that `ef` of them are allowed on average, and `k` of them but for bad luck
/// (three deviations of it).
inline std::size_t widened(std::size_t k, std::size_t ef, double share) {
  const auto least = static_cast<double>(k);
  const double lucky = least + 3 * std::sqrt(least * (1 - share));
  return static_cast<std::size_t>(std::max(static_cast<double>(ef), lucky) / share);
}

/// Links to allowed nodes that are enough for a node, over others or not. Raising it costs
/// distances and saves candidates: with 6 M a bridged walk finds at the same ef what a plain one
/// finds without a filter; with 2 M it took two to three times the candidates for that on word
/// vectors.
inline std::size_t bridged_links(std::size_t M) { return 6 * M; }

/// The cheapest way in units of one distance among many in a row. `degree`: of layer 0.
inline FilterPlan plan_filter(const Filter& filter, double share, std::size_t size, double degree,
                              std::size_t M, std::size_t ef) {
  // Measured: two of five neighbours of an expanded node were not seen before, one of five where
  // they are reached over others; a distance at a random place, with what the walk does about it,
  // costs four of those in a row; so does a node's row of links. On pictures a walk over others was
  // worth it from half filtered out on, on word vectors from four fifths: these constants say three
  // quarters.
  constexpr double kFresh = 0.4, kFreshBridged = 0.2, kRandom = 4, kRow = 4, kPredicate = 0.5,
                   kWord = 0.1;
  const auto n = static_cast<double>(size), e = static_cast<double>(ef);
  const auto enough = static_cast<double>(bridged_links(M));
  const double direct = share * degree, others = degree - direct;
  const double over = std::min(others, std::max(0.0, enough - direct) / std::max(direct, 1e-9));
  const double scan = share * n + (filter.bits() != nullptr ? kWord * n / 64 : kPredicate * n);
  const double bridge =
      e * (kFreshBridged * kRandom * (direct + over * direct) + kRow * (1 + over));
  const double widen = std::min(e / share, n) * kFresh * kRandom * degree;
  if (scan <= std::min(bridge, widen)) return FilterPlan::kScan;
  return bridge < widen ? FilterPlan::kBridge : FilterPlan::kWiden;
}

struct BridgeScratch {
  VisitedSet bridged;        // nodes not allowed whose neighbours were looked at
  std::vector<Node> row;     // what stands for a node's links
  std::vector<Node> others;  // its neighbours that are not allowed
};

/// A node's links to allowed nodes, over one that is not allowed where they are few: the `Rows` of
/// walk_layer(). Each node is bridged at most once a walk.
template <class Allows>
struct BridgedRows {
  const CsrRows& rows;
  const Allows& allows;
  std::size_t wanted;  ///< links that are enough
  BridgeScratch& scratch;

  std::span<const Node> operator()(Node node) const {
    auto& [bridged, row, others] = scratch;
    row.clear();
    others.clear();
    for (const Node next : rows(node)) (allows(next) ? row : others).push_back(next);
    constexpr std::size_t kAhead = 4;
    for (std::size_t i = 0; i < others.size() && row.size() < wanted; ++i) {
      if (i + kAhead < others.size()) rows.prefetch(others[i + kAhead]);
      if (bridged.visit(std::span(&others[i], 1)).empty()) continue;
      for (const Node beyond : rows(others[i])) {
        if (allows(beyond)) row.push_back(beyond);
      }
    }
    return row;
  }
  void prefetch(Node node) const { rows.prefetch(node); }
};

/// Offers every allowed node to `pool`, which is limited already.
template <class Score>
void scan_allowed(const Score& score, std::size_t size, const Filter& filter, WalkScratch& walk,
                  std::vector<Node>& block) {
  constexpr std::size_t kBlock = 256;
  if (walk.distances.size() < kBlock + 64) walk.distances.resize(kBlock + 64);
  block.clear();
  const auto flush = [&] {
    score(block.data(), block.size(), walk.distances.data());
    for (std::size_t i = 0; i < block.size(); ++i) walk.pool.offer(walk.distances[i], block[i]);
    block.clear();
  };
  const std::vector<std::uint64_t>* bits = filter.bits();
  for (std::size_t word = 0; word < (size + 63) / 64; ++word) {
    const auto first = static_cast<Node>(word * 64);
    if (bits != nullptr) {
      for (std::uint64_t left = (*bits)[word]; left != 0; left &= left - 1) {
        const Node node = first + static_cast<Node>(std::countr_zero(left));
        if (node < size) block.push_back(node);
      }
    } else {
      const auto end = static_cast<Node>(std::min<std::size_t>(size, first + std::size_t{64}));
      for (Node node = first; node < end; ++node) {
        if (filter.allows(node)) block.push_back(node);
      }
    }
    if (block.size() >= kBlock) flush();
  }
  flush();
}

}  // namespace halo::detail
