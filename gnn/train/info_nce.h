// The supervised contrastive loss of a batch: rows of one group attract, all others repel.
//
//   loss = mean_i -(1 / |P_i|) sum_{p in P_i} log softmax_{j != i}(scale <z_i, z_j>)_p
//
// P_i: the other rows of i's group; rows without any are repelled from but not averaged over.
// Sources: van den Oord et al., "Representation learning with contrastive predictive coding", 2018;
// Khosla et al., "Supervised contrastive learning", 2020.
// Thread-safety: pure function.
#pragma once

#include <cstdint>
#include <span>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

struct InfoNce {
  double loss = 0;
  double d_log_scale = 0;   ///< the loss's gradient by log scale
  std::size_t anchors = 0;  ///< rows with a positive; without any, loss and gradients are 0
};

/// z [n, r] with rows of unit length, `groups` [n]. Overwrites d_z [n, r], the gradient by z.
/// Throws kDimensionMismatch for other shapes. O(n^2 r). The bytes do not depend on the executor's
/// threads.
InfoNce supervised_info_nce(const MatrixView& z, std::span<const std::uint32_t> groups,
                            float log_scale, const MatrixSpan& d_z, const Executor& executor);

}  // namespace halo::gnn
