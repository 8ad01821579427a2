// What one vector of an index is linked to, and how much each neighbour weighs in its attention.
//
// Thread-safe: a pure function.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "halo/integration/engine.h"

namespace halo {

struct NodeAttention {
  struct Near {
    float distance = 0;
    Id id = -1;
  };
  /// The attention of one head, by the states of the last GNN layer.
  struct Head {
    std::string name;
    float weight = 0;            ///< share of the refined score
    std::vector<float> weights;  ///< one a vector of `window`; they sum to 1
  };
  std::size_t level = 0;     ///< the highest layer the vector is in
  std::vector<Near> links;   ///< its neighbours in the layer asked for, nearest first
  std::vector<Near> window;  ///< what it attends to, nearest first; empty without a model
  std::vector<Head> heads;   ///< empty without a model
};

/// Throws kUnknownId where the index holds no such vector. O(window (dim + heads out_dim)).
NodeAttention node_attention(const Engine& engine, Id id, std::size_t layer = 0);

}  // namespace halo
