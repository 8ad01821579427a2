// Exact nearest-neighbour lists, which graph-based re-ranking starts from, and how queries join
// them.
//
// Vectors have unit length; similarity is the cosine. Nodes 0 ... n - 1 are the base, the guests
// (queries that take part in the graph) follow. Thread-safety: values and free functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::bench {

using NodeId = std::uint32_t;

struct NeighbourLists {
  std::size_t depth = 0;
  std::vector<NodeId> ids;      ///< rows x depth: the node itself, then by falling similarity
  std::vector<float> sims;      ///< rows x depth
  std::vector<float> farthest;  ///< a row: the similarity of the node least similar to it

  std::size_t rows() const { return farthest.size(); }
  /// The first `count` of row `i` (fewer where the lists are shorter), the node itself among them.
  std::span<const NodeId> ids_of(std::size_t i, std::size_t count) const {
    return std::span(ids).subspan(i * depth, count < depth ? count : depth);
  }
  std::span<const float> sims_of(std::size_t i) const {
    return std::span(sims).subspan(i * depth, depth);
  }
};

/// Lists of `vectors` [n, dim] among themselves, min(depth, n) long. Exhaustive: O(n^2 dim).
NeighbourLists exact_neighbours(const MatrixView& vectors, std::size_t depth,
                                const Executor& executor);

/// The exact lists of base and guests together. `to_base` [guests, n] and `to_guests` [guests,
/// guests] hold the guests' similarities. O(guests n).
NeighbourLists join(const NeighbourLists& base, const MatrixView& to_base,
                    const MatrixView& to_guests);

/// Base and guests as one set of vectors.
struct Nodes {
  MatrixView base;
  MatrixView guests;

  const float* vector(std::size_t node) const {
    return node < base.rows ? base.row(node) : guests.row(node - base.rows);
  }
  float similarity(std::size_t a, std::size_t b) const;
};

}  // namespace halo::bench
