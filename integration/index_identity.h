// Tells one index from another, and refuses a model with an index that it was not made for.
//
// Thread-safety: pure functions.
#pragma once

#include <cstddef>
#include <string_view>

#include "halo/gnn/index_identity.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// O(links + vectors), at memory speed. Throws kNotPrepared for a snapshot without vectors.
gnn::IndexIdentity identity_of(const GraphSnapshot& snapshot);

/// What a model says of the index it belongs to.
struct ModelOrigin {
  std::string_view name;  ///< "refinement" or "trained", for messages
  std::size_t size = 0, dim = 0;
  bool unit_input = false;  ///< made for an index of unit vectors: metric cosine or ip
  gnn::IndexIdentity index;
};

/// Throws kModelMismatch, saying which of them differ, unless dimension, number of vectors, metric,
/// graph and vectors are the model's. Where the model does not know its index, as those of earlier
/// versions, hashes are not compared. Vectors are not compared where the snapshot has dropped them.
void require_same_index(const ModelOrigin& model, const GraphSnapshot& snapshot);

}  // namespace halo
