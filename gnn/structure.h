// The structure part of a head: who a node's neighbours are, a few steps further along the graph.
//
// Values are the identities of nodes. With A the head's attention over its windows (entries that
// are not mutual weigh less, rows sum to 1, plus a share of the node itself), a row of A^t says
// which nodes a walk from i reaches. Two vectors belong together where their walks meet: the score
// is the cosine of the square roots of their rows (Hellinger affinity). Compare k-reciprocal
// encoding (Zhong et al. 2017) and GNN re-ranking (Zhang et al. 2020).
//
// Thread-safe: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/gnn/ranked_windows.h"

namespace halo::gnn {

struct StructureOptions {
  std::size_t window = 20;    ///< neighbours that one step attends to
  float sharpness = 2.0F;     ///< p of row_adaptive_attention.h
  float one_sided = 0.3F;     ///< factor of entries whose node does not attend back
  float self_share = 0.5F;    ///< added to the diagonal: raising it shortens the walk
  std::size_t steps = 4;      ///< products with A after the first row
  std::size_t kept = 64;      ///< entries stored of each row, a multiple of 16
  std::size_t breadth = 128;  ///< entries kept between steps

  void validate() const;  ///< throws kInvalidArgument
};

/// Sparse rows of equal room: `kept` nodes with 8-bit square-root weights, row i of unit length
/// once divided by norm(i). Unused entries have weight 0 and node 0.
struct StructureRows {
  std::size_t kept = 0;
  std::vector<std::uint32_t> nodes;  ///< [size, kept]
  std::vector<std::uint8_t> roots;   ///< [size, kept]: 255 for the row's heaviest entry
  std::vector<float> inverse_norms;  ///< [size]

  std::size_t size() const { return inverse_norms.size(); }
  std::span<const std::uint32_t> row(std::size_t i) const {
    return std::span(nodes).subspan(i * kept, kept);
  }
  std::span<const std::uint8_t> row_roots(std::size_t i) const {
    return std::span(roots).subspan(i * kept, kept);
  }
  /// The share of entry e of row i; a row's shares sum to 1.
  float share(std::size_t i, std::size_t e) const {
    const float root = inverse_norms[i] * static_cast<float>(roots[i * kept + e]);
    return root * root;
  }
  std::size_t bytes() const {
    return nodes.size() * (sizeof(std::uint32_t) + 1) + inverse_norms.size() * sizeof(float);
  }
};

/// Attention of one row over the similarities of its neighbours, nearest first, times `one_sided`
/// where `mutual` says no; weights sum to 1. In place.
void structure_weights(std::span<float> similarities, std::span<const std::uint8_t> mutual,
                       const StructureOptions& options);

/// The rows of every node after options.steps steps over `windows`. O(n steps window breadth).
StructureRows diffuse(const RankedWindows& windows, const StructureOptions& options,
                      const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
