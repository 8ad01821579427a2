// The inside of a SavedForward.
//
// Private to the room.
#pragma once

#include <memory>
#include <vector>

#include "halo/attention/detail/flash_pattern.h"
#include "halo/attention/detail/local_pattern.h"
#include "halo/attention/projections.h"
#include "halo/attention/random_features.h"
#include "halo/attention/tensor.h"

namespace halo::attention::detail {

struct SavedState {
  const void* owner = nullptr;  // the parameters of the forward pass; null before the first
  std::size_t batch = 0, n = 0;
  std::shared_ptr<const LocalPattern> pattern;
  std::vector<std::uint32_t> globals;
  std::shared_ptr<const FlashPattern> flash_pattern;
  std::shared_ptr<const std::vector<RandomFeatures>> features;

  Matrix qkv;            // [batch n, 3 d_model]
  Matrix mixed;          // [batch n, d_model]: what W_o multiplies
  Matrix local, global;  // [batch n, d_model]: before the gate; unused without globals
  Matrix global_rows;    // [batch g, 2 d_model]: keys and values of the global nodes
  std::vector<float> lse, global_lse;  // a row and head of every item, as the kernels lay them out

  // Of the backward pass.
  Matrix d_mixed, d_qkv, d_global, d_query, d_global_rows, slopes;
  kernels::GraphWorkspace edge_weights;

  std::size_t bytes() const;
};

/// Throws kInvalidArgument unless `state` holds the forward pass of `owner` over x's shape, and
/// kDimensionMismatch where the gradients' shapes differ from it.
void check_backward(const SavedState& state, const void* owner, const TensorView& x,
                    const TensorView& d_out, const TensorSpan* d_x);

}  // namespace halo::attention::detail
