// Which index a model was made for, so that it is never used with another one.
//
// A model numbers an index's nodes, so the same vectors in another graph are another index too.
// Thread-safety: a value.
#pragma once

#include <cstdint>
#include <string>

namespace halo::gnn {

struct IndexIdentity {
  std::string metric;             ///< its name; empty: not known, and then nothing is compared
  std::uint64_t graph_hash = 0;   ///< of ids, levels and links
  std::uint64_t vector_hash = 0;  ///< of the stored vectors
  bool known() const { return !metric.empty(); }
  bool operator==(const IndexIdentity&) const = default;
};

}  // namespace halo::gnn
