// Which exact mechanism is cheapest for a problem. LinearAttention is never the answer: it is an
// estimate, and whether its error is bearable depends on the data (docs/attention.md).
//
// Thread-safety: pure functions. The answer depends on the problem and on the length of this CPU's
// vectors, never on a measurement: the coefficients are fitted once (docs/attention.md tells how).
#pragma once

#include <cstddef>

namespace halo::attention {

enum class Mechanism {
  kStandard,  ///< standard_attention, StandardAttention; masked_attention over a mask
  kFlash,     ///< flash_attention, FlashAttention; without a mask only
  kSparse,    ///< csr_attention, FlashAttention::update_mask: over a mask only
};

struct AttentionProblem {
  std::size_t n = 0;
  /// Share of the n^2 pairs that attend (CsrMask::density); 1: no mask.
  double mask_density = 1.0;
  std::size_t head_dim = 64;
  std::size_t heads = 1;

  /// Throws kInvalidArgument for a density outside [0, 1], or a head_dim or heads of 0.
  void validate() const;
};

/// Modelled nanoseconds of one forward pass without projections, on one thread of the machine that
/// the model was fitted on; infinite where the mechanism can't do it. Ratios are what it is for.
/// Errors as AttentionProblem::validate.
double modelled_cost(Mechanism mechanism, const AttentionProblem& problem);

/// The mechanism of the lowest modelled cost.
Mechanism choose(const AttentionProblem& problem);

}  // namespace halo::attention
