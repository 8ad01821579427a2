// A trained refinement model as sections of a bundle.
//
//   kTrainedManifest    JSON: form 2, the index (manifest_identity.h), sizes, options, the view,
//                       the learned scale, the use of classes, the GNN's shape
//   kTrainedProjection  float32: mean [dim], basis [rank, dim], centroids [classes, rank]
//   kTrainedStates      bfloat16: per layer, the first before any, the rows [size, rank]
//   kTrainedWindows     uint32 [size, window]: nearest first, 0xffffffff where there are fewer
//   kTrainedClasses     uint32: entries [classes], then classes [size, 8]; then float32: the roots
//                       of their probabilities [size, 8]. Missing where there are no classes
//   kTrainedGnn         float32: a trained GNN's parameters, in the order of
//                       GnnModel::named_parameters(); then uint32: each layer's global nodes.
//                       Missing where the layers are content layers
//
// Thread-safety: pure functions.
#pragma once

#include <memory>

#include "halo/gnn/trained_model.h"
#include "halo/integration/io/bundle.h"

namespace halo::io {

/// Adds the model's sections; the model must outlive the writer's write().
void write_trained(BundleWriter& writer, const gnn::TrainedModel& model);

/// Null where the bundle holds no trained model. Throws kCorrupt where its sections do not fit each
/// other or a value is out of range, kUnsupportedFormat for another form; sizes are checked before
/// anything is allocated.
std::shared_ptr<const gnn::TrainedModel> read_trained(const BundleReader& reader);

}  // namespace halo::io
