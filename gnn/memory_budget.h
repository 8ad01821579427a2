// Cuts a label-free model to the memory it may take.
//
// Walks carry structure, states carry content: a head of structure alone needs its states only to
// choose a query's window, and loses little with fewer directions; a head with content loses little
// with shorter walks. So, until it fits: walks of 32 or 24 entries; structure heads of 64
// directions; the heaviest head alone; walks of 16 entries; 64 directions for that head too.
//
// Thread-safe: a pure function.
#pragma once

#include <cstddef>
#include <vector>

#include "halo/gnn/prepare_heads.h"

namespace halo::gnn {

/// What a model of these heads takes for `size` vectors of `dim` floats, walks of `kept` entries.
std::size_t planned_bytes(const std::vector<HeadPlan>& plans, std::size_t size, std::size_t dim,
                          std::size_t kept);

/// Cuts `plans` and options.structure.kept until planned_bytes() is at most options.memory_share of
/// the float32 vectors' bytes, or nothing is left to cut (about 174 bytes a vector). Weights of
/// what is left sum to 1 again. `spectrum` is that of the vectors.
void fit_to_memory(std::vector<HeadPlan>& plans, RefineOptions& options, const Spectrum& spectrum,
                   std::size_t size);

}  // namespace halo::gnn
