// Learned fusion weights (gnn/fusion.h) as a section of a bundle: JSON, {"form": 1, "heads":
// [names], "weights": [numbers]}, the weights in the order of the terms.
//
// Thread-safety: pure functions.
#pragma once

#include <memory>

#include "halo/gnn/fusion.h"
#include "halo/integration/io/bundle.h"

namespace halo::io {

void write_fusion(BundleWriter& writer, const gnn::Fusion& fusion);
/// Null where there is none. Throws kCorrupt, kUnsupportedFormat.
std::shared_ptr<const gnn::Fusion> read_fusion(const BundleReader& reader);

}  // namespace halo::io
