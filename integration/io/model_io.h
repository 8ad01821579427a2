// A refinement model as sections of a bundle.
//
//   kModelManifest     JSON: sizes, options, heads (name, weight, rank; rank 0 for the identity),
//   the base's coherence, spectrum figures,
//                      the calibrated gate where there is one, the number of global nodes of each
//                      GNN layer
//   kModelProjections  float32: per head its mean [dim], then its basis [rank, dim]
//   kModelStates       bfloat16: per head, per stored state, the rows [size, out_dim] without
//   padding kModelEdges        uint32 [size, 10]: nearest neighbours, 0xffffffff where there are
//   fewer kModelGlobalNodes  uint32: the GNN layers' global nodes, one layer after the other
//
// Thread-safety: pure functions.
#pragma once

#include <memory>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/io/bundle.h"

namespace halo::io {

/// Adds the model's sections; the model must outlive the writer's write().
void write_model(BundleWriter& writer, const gnn::RefinementModel& model);

/// Null where the bundle holds no model. Throws kCorrupt where its sections do not fit each other
/// or a value is out of range; sizes are checked before anything is allocated.
std::shared_ptr<const gnn::RefinementModel> read_model(const BundleReader& reader);

}  // namespace halo::io
