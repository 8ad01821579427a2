#include "halo/attention/choose.h"

#include <cmath>
#include <limits>
#include <string>

#include "halo/core/error.h"
#include "halo/core/kernels/long_vectors.h"

namespace halo::attention {
namespace {

// Nanoseconds, fitted to bench_attention_crossover (docs/attention.md).
struct Cost {
  double pair, pair_dim;  // of a pair that is computed, and of each of its dimensions
  double row, row_dim;    // of a row: packing, softmax's ends
  double call;            // of a call, shared by its heads
};
constexpr Cost kDense{0.71, 0.032, 26.0, 0.64, 770.0};
constexpr Cost kMasking{0.63, 0.0, 0.0, 0.0, 0.0};  // of a masked dense pair, beside kDense
constexpr Cost kTiles{0.40, 0.0317, 30.0, 1.1, 0.0};
// Dense products take as long on AVX2 (on this CPU), edges do not.
constexpr Cost kEdges{1.3, 0.0635, 21.8, 0.0, 0.0}, kEdgesAvx2{2.9, 0.087, 21.8, 0.0, 0.0};

double cost_of(const Cost& cost, double pairs, const AttentionProblem& problem) {
  const auto d = static_cast<double>(problem.head_dim), n = static_cast<double>(problem.n);
  const double head = pairs * (cost.pair + cost.pair_dim * d) + n * (cost.row + cost.row_dim * d);
  return cost.call + static_cast<double>(problem.heads) * head;
}

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "attention: choose: " + what);
}

}  // namespace

void AttentionProblem::validate() const {
  if (!(mask_density >= 0.0 && mask_density <= 1.0)) {
    refuse("mask_density must be within [0, 1], got " + std::to_string(mask_density));
  }
  if (head_dim == 0 || heads == 0) refuse("head_dim and heads must be at least 1");
}

double modelled_cost(Mechanism mechanism, const AttentionProblem& problem) {
  problem.validate();
  const double all = static_cast<double>(problem.n) * static_cast<double>(problem.n);
  const bool masked = problem.mask_density < 1.0;
  switch (mechanism) {
    case Mechanism::kStandard:
      return cost_of(kDense, all, problem) + (masked ? cost_of(kMasking, all, problem) : 0.0);
    case Mechanism::kFlash:
      return masked ? std::numeric_limits<double>::infinity() : cost_of(kTiles, all, problem);
    case Mechanism::kSparse:
      return masked ? cost_of(kernels::long_vectors() ? kEdges : kEdgesAvx2,
                              problem.mask_density * all, problem)
                    : std::numeric_limits<double>::infinity();
  }
  refuse("unknown mechanism");
}

Mechanism choose(const AttentionProblem& problem) {
  Mechanism best = Mechanism::kStandard;
  for (const Mechanism other : {Mechanism::kFlash, Mechanism::kSparse}) {
    if (modelled_cost(other, problem) < modelled_cost(best, problem)) best = other;
  }
  return best;
}

}  // namespace halo::attention
