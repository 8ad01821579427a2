// One node of an index in detail. Thread-safety: as Session.
#pragma once

#include <cstddef>

#include "halo/index/graph_snapshot.h"
#include "halo/integration/cli/session.h"
#include "halo/integration/engine.h"

namespace halo::cli {

/// Reports the neighbours of the vector `id` in `layer`, nearest first, and, where the index has a
/// model, how much each neighbour of its window weighs in the attention of each head and GNN layer.
/// Throws kUnknownId.
void inspect_node(const Engine& engine, Id id, std::size_t layer, Session& session);

}  // namespace halo::cli
