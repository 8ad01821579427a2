// A refinement model as sections of a bundle.
//
//   kModelManifest        JSON: form 3 or 4, the index (manifest_identity.h), sizes, options, heads
//                         (name, weight, content share, rank; rank 0 for the identity), the base's
//                         coherence, spectrum figures, the calibrated gate where there is one, the
//                         number of global nodes, what changed since (changed, drift, the number of
//                         dirty nodes). Form 4: windows keep a share of their entries. It adds
//                         "entries" (share, fewest, enough, redundancy, coefficients of
//                         gnn/window_entries.h) and to each head "bars" [content, structure]
//   kModelProjections     float32: per head its mean [dim], then its basis [rank, dim]
//   kModelStates          int8: per head the rows [size, out_dim] without padding
//   kModelScales          float32: per head the states' scales [size]
//   kModelThresholds      int16: per head the thresholds [size]
//   kModelStructure       uint32: per head [size, kept], entries as in gnn/structure.h
//   kModelEdges           uint32 [size, 10]: nearest neighbours, 0xffffffff where there are fewer
//   kModelGlobalNodes     uint32: what a query may attend to beside its window
//   kModelDirty           uint32: nodes to be computed again, ascending
//
// A model of form 1 (before structure) or 2 (wider entries) is refused with kUnsupportedFormat:
// prepare it again.
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
/// or a value is out of range, kUnsupportedFormat for another form; sizes are checked before
/// anything is allocated.
std::shared_ptr<const gnn::RefinementModel> read_model(const BundleReader& reader);

}  // namespace halo::io
