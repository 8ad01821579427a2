// A graph as an index's lowest layer is one: points of a cube linked to their 32 nearest.
#pragma once

#include "halo/core/csr_mask.h"

namespace halo::bench {

/// 60,000 points at random in a cube, each with 32 edges to the nearest among those in the cells
/// around it, in reverse Cuthill-McKee order.
CsrMask neighbour_graph();

}  // namespace halo::bench
