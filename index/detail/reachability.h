// Which nodes a search can reach, and the repair of those it cannot.
//
// hnswlib drops links to keep lists short, and now and then the last link to a node is among them:
// the node is stored but can never be found.
//
// Thread-safety: pure functions. Private to the index room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "halo/index/graph_snapshot.h"

namespace halo::detail {

/// One mark a node: 1 where a walk that starts at the entry point and descends layer by layer can
/// get to. The parts need the invariants of GraphSnapshot. O(links).
std::vector<std::uint8_t> reachable_nodes(const SnapshotParts& parts);

/// Links every unreachable node in layer 0, both ways, with the nearest node that a search finds.
/// Rows stay ascending and unique; a repaired row may have more than 2 M links. Returns how many
/// nodes got such a link. Afterwards every node is reachable. O(links + repaired x search).
std::size_t repair_unreachable(SnapshotParts& parts);

}  // namespace halo::detail
