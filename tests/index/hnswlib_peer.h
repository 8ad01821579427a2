// hnswlib as a program beside halo would use it: what halo's recall is compared with, and the proof
// that both link into one program.
#pragma once

#include <cstddef>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/index/metric.h"

namespace halo::test {

/// Row numbers of the k nearest to every query, as hnswlib alone finds them. Vectors and queries
/// are given as the metric stores them (unit length under kCosine).
std::vector<std::vector<std::size_t>> hnswlib_nearest(Metric metric, const MatrixView& vectors,
                                                      std::size_t M, std::size_t ef_construction,
                                                      const MatrixView& queries, std::size_t k,
                                                      std::size_t ef);

}  // namespace halo::test
