// Learns how much each term of a refined score counts, from a few judged queries.
//
// A query's candidates compete in a softmax over their scores (Cao et al., "Learning to rank: from
// pairwise approach to listwise approach", 2007), and the weights are drawn to those of label-free
// refinement, the more so the fewer queries speak:
//
//   sum_q -mean_{r relevant} log softmax_j(sharpness <w, terms_j>)[r] + pull |w - w0|^2,  w >= 0
//
// The loss is convex in w. The sharpness is first fitted to w0, so that w moves to order the
// candidates better and not to be surer of the order there is.
//
// Thread-safety: pure functions; the work runs on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"

namespace halo::gnn {

/// The candidates of one judged query.
struct JudgedList {
  MatrixView terms;                        ///< [terms, candidates]
  std::span<const std::uint8_t> relevant;  ///< one a candidate: 0 or 1
};

struct FusionOptions {
  /// How strongly weights are drawn to where they start, in the weight of so many queries; raising
  /// it needs more queries before weights move.
  double pull = 16.0;
  std::size_t iterations = 30;  ///< Newton steps at most; it stops where none helps

  void validate() const;  ///< throws kInvalidArgument
};

/// The weights, one for each of `start` (0 or more). Lists without a relevant candidate say
/// nothing; without any other list the start comes back. Throws kInvalidArgument,
/// kDimensionMismatch for lists of another shape. O(iterations candidates terms^2). The same bytes
/// at any number of threads.
std::vector<float> fit_fusion(std::span<const JudgedList> lists, std::span<const float> start,
                              const FusionOptions& options, const Executor& executor);

}  // namespace halo::gnn
