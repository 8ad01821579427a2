// The small indexes that fuzzed models belong to, and that the seeds are made from.
//
// Thread-safety: the functions may be called from any thread.
#pragma once

#include <cstddef>

#include "halo/core/matrix_view.h"
#include "halo/integration/engine.h"

namespace halo::fuzz {

inline constexpr std::size_t kSmallSize = 24, kSmallDim = 5, kSmallClasses = 3;

/// kSmallSize vectors in kSmallClasses clusters; vector i is of cluster i % kSmallClasses.
Matrix small_vectors();

/// Built over them with every model there is: built once, the same in every process.
const Engine& small_engine();

}  // namespace halo::fuzz
