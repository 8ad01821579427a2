#include "halo/integration/index_identity.h"

#include <span>
#include <string>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "halo/core/error.h"

namespace halo {
namespace {

class Hash {
 public:
  Hash() { XXH3_64bits_reset(&state_); }
  template <class T>
  void add(std::span<const T> items) {
    const std::uint64_t size = items.size();  // so that neighbouring lists do not run together
    XXH3_64bits_update(&state_, &size, sizeof size);
    if (size > 0) XXH3_64bits_update(&state_, items.data(), items.size_bytes());
  }
  std::uint64_t value() const { return XXH3_64bits_digest(&state_); }

 private:
  XXH3_state_t state_;
};

std::uint64_t graph_hash(const SnapshotParts& parts) {
  Hash hash;
  hash.add(std::span(parts.ids));
  hash.add(std::span(parts.levels));
  for (const LayerLinks& layer : parts.layers) {
    hash.add(std::span(layer.row_offsets));
    hash.add(std::span(layer.neighbours));
  }
  return hash.value();
}

// Of the vectors as floats, however they are kept.
std::uint64_t vector_hash(const GraphSnapshot& snapshot) {
  Hash hash;
  std::vector<float> vector(snapshot.dim());
  for (Node node = 0; node < snapshot.size(); ++node) {
    snapshot.copy_vector(node, vector);
    hash.add(std::span<const float>(vector));
  }
  return hash.value();
}

[[noreturn]] void mismatch(const ModelOrigin& model, const std::string& what) {
  throw Error(ErrorCode::kModelMismatch, "the " + std::string(model.name) + " model " + what);
}

std::string figures(std::size_t size, std::size_t dim) {
  return std::to_string(size) + " vectors of dimension " + std::to_string(dim);
}

}  // namespace

gnn::IndexIdentity identity_of(const GraphSnapshot& snapshot) {
  return {std::string(metric_name(snapshot.metric())), graph_hash(snapshot.parts()),
          vector_hash(snapshot)};
}

void require_same_index(const ModelOrigin& model, const GraphSnapshot& snapshot) {
  if (model.size != snapshot.size() || model.dim != snapshot.dim()) {
    mismatch(model, "was prepared for " + figures(model.size, model.dim) + ", the index has " +
                        figures(snapshot.size(), snapshot.dim()));
  }
  const std::string metric(metric_name(snapshot.metric()));
  const bool unit = snapshot.metric() != Metric::kL2;
  if (model.unit_input != unit || (model.index.known() && model.index.metric != metric)) {
    const std::string other = model.index.known() ? model.index.metric
                              : model.unit_input  ? "cosine or ip"
                                                  : "l2";
    mismatch(model, "was prepared for metric " + other + ", the index has metric " + metric);
  }
  if (!model.index.known()) return;
  if (model.index.graph_hash != graph_hash(snapshot.parts())) {
    mismatch(model, "was prepared for another graph: other ids, levels or links");
  }
  if (snapshot.has_vectors() && model.index.vector_hash != vector_hash(snapshot)) {
    mismatch(model, "was prepared for an index of other vectors");
  }
}

}  // namespace halo
