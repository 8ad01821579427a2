// How opinions about classes are mixed: the weights under which the mixture gave what turned out to
// be true the greatest probability, drawn to where they start.
//
// (Smyth, Wolpert: "Linearly combining density estimators via stacking", 1999), by expectation
// maximisation, which no step makes worse.
//
// Thread-safe: a pure function.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace halo::gnn {

struct MixtureOptions {
  double prior = 20.0;  ///< cases that the start counts for; raising it keeps nearer to it
  std::size_t rounds = 50;
};

/// `probabilities` [opinions][cases]: what each opinion gave to the truth of each case. `start`
/// [opinions] sums to 1. Returns weights that sum to 1; cases that no opinion thought possible say
/// nothing. Throws kDimensionMismatch. O(rounds opinions cases).
std::vector<double> mixture_weights(std::span<const std::vector<double>> probabilities,
                                    std::span<const double> start,
                                    const MixtureOptions& options = {});

}  // namespace halo::gnn
