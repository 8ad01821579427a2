// A numbering of graph nodes that puts neighbours near each other in memory.
//
// Thread-safety: pure functions.
#pragma once

#include <cstdint>
#include <vector>

#include "halo/core/csr_mask.h"

namespace halo {

/// Reverse Cuthill-McKee over the undirected graph of `links` (square: rows = columns): breadth
/// first from a node at the rim of each component, nodes of small degree first, reversed. Entry i
/// of the result is the node that comes i-th. Deterministic. O(links log(degree)).
/// Source: George and Liu, "Computer Solution of Large Sparse Positive Definite Systems", 1981.
std::vector<std::uint32_t> reverse_cuthill_mckee(const CsrView& links);

/// The mean over links of |position of the one end - position of the other|: what the order lowers.
double mean_link_length(const CsrView& links, const std::vector<std::uint32_t>& order);

}  // namespace halo
