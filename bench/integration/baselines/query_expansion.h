// Query expansion and database-side augmentation on vectors of unit length.
//
// alpha-QE: Radenovic, Tolias, Chum, "Fine-tuning CNN Image Retrieval with No Human Annotation",
// TPAMI 2019: the query plus its n nearest, each weighted by its similarity to the
// power alpha; alpha 3, n 50. n 10 is the usual choice for small classes.
// DBA: Gordo, Almazan, Revaud, Larlus, "End-to-end Learning of Deep Visual Representations for
// Image Retrieval", IJCV 2017: every base vector becomes the sum of itself and its
// neighbours, rank r of k weighted by (k - r) / k; k 20. alpha-DBA weights them as alpha-QE does
// (Gordo, Radenovic, Berg, "Attention-Based Query Expansion Learning", ECCV 2020).
// Thread-safety: free functions.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "neighbour_lists.h"

namespace halo::bench {

struct AlphaOptions {
  double alpha = 3;
  std::size_t neighbours = 50;
};

/// Every base vector [n, dim] replaced by the weighted sum of the first `k` of its list, scaled to
/// unit length. O(n k dim).
Matrix augment_database(const MatrixView& base, const NeighbourLists& lists, std::size_t k,
                        const Executor& executor);
/// The same with the node itself and `options.neighbours` others weighted by similarity to the
/// power alpha.
Matrix alpha_augment_database(const MatrixView& base, const NeighbourLists& lists,
                              const AlphaOptions& options, const Executor& executor);

/// The candidates' similarity to the query expanded by those candidates that are most similar to it
/// in `base`. Negative similarities weigh nothing. O(candidates dim).
std::vector<float> alpha_expansion(std::span<const float> query, const MatrixView& base,
                                   std::span<const NodeId> candidates, const AlphaOptions& options);

}  // namespace halo::bench
