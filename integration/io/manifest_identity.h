// The identity of a model's index in its JSON manifest: {"metric": ..., "graph": ..., "vectors":
// ...} under "index". Models written before there was one have none.
//
// Thread-safe: pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "halo/gnn/index_identity.h"
#include "halo/integration/io/manifest_numbers.h"

namespace halo::io {

inline void write_identity(nlohmann::json& manifest, const gnn::IndexIdentity& index) {
  if (!index.known()) return;
  manifest["index"] = {
      {"metric", index.metric}, {"graph", index.graph_hash}, {"vectors", index.vector_hash}};
}

/// Throws kCorrupt or a JSON exception where there is one that is malformed.
inline gnn::IndexIdentity read_identity(const nlohmann::json& manifest) {
  if (!manifest.contains("index")) return {};
  const nlohmann::json& index = manifest.at("index");
  gnn::IndexIdentity identity{index.at("metric").get<std::string>(), count_of(index.at("graph")),
                              count_of(index.at("vectors"))};
  if (!identity.known()) throw Error(ErrorCode::kCorrupt, "an index without a metric");
  return identity;
}

}  // namespace halo::io
