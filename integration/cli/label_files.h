// Labels from files, as training and imported models use them.
//
// Thread-safe: pure functions.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "halo/index/graph_snapshot.h"

namespace halo::cli {

/// A label for every node, -1 where it has none: label i of `labels` belongs to id i, or to the
/// i-th of `label_ids` where that is not empty. Throws kInvalidArgument for another number of them,
/// kUnknownId for an id that the index does not hold, and what reading the files throws.
std::vector<std::int64_t> labels_of_nodes(const std::filesystem::path& labels,
                                          const std::filesystem::path& label_ids,
                                          const GraphSnapshot& snapshot);

}  // namespace halo::cli
