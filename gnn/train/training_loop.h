// The loop every gradient method of halo runs: Adam with a cosine decay, early stopping by
// validation, and a state at every check from which it goes on as if it had never stopped.
//
// Thread-safety: one loop belongs to one thread; what it calls may use an executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"

namespace halo::gnn {

/// Where a loop stands after a check: what a checkpoint holds. The same options, data and seed
/// continue it to the bytes of a run that was not interrupted.
struct LoopState {
  std::uint64_t step = 0;  ///< steps taken
  std::uint64_t best_step = 0, checks_without_gain = 0;
  double best = 0;  ///< the best validation so far
  bool done = false;
  std::vector<double> losses;      ///< one a step
  std::vector<Matrix> parameters;  ///< now
  std::vector<Matrix> moments;     ///< Adam's
  std::vector<Matrix> kept;        ///< the parameters at best_step
};

/// A deep copy.
LoopState copy_of(const LoopState& state);

struct LoopOptions {
  std::size_t steps = 250;
  std::size_t check_every = 50;  ///< steps between validations, and between checkpoints
  std::size_t patience = 3;      ///< checks without gain before it stops
  float rate = 3e-3F;            ///< Adam's, decayed to 0 over `steps` by a cosine
};

/// What a loop starts from and where its states go; both may be empty.
struct Checkpointing {
  const LoopState* from = nullptr;
  std::function<void(const LoopState&)> save;
};

/// One step: the loss at the parameters as they are, and its gradients.
using LossAndGradients =
    std::function<double(std::uint64_t step, std::span<const MatrixSpan> gradients)>;

/// Changes `parameters` in place. With `validate` (larger is better) the parameters of the best
/// check are kept, the start being the first check (of equals the first); without it, those of the
/// last step. Returns the last state. Throws kModelMismatch where `from` has other shapes,
/// kCancelled.
LoopState run_training_loop(std::string_view stage, std::span<const MatrixSpan> parameters,
                            const LoopOptions& options, const LossAndGradients& step,
                            const std::function<double()>& validate,
                            const Checkpointing& checkpointing, const Job& job);

}  // namespace halo::gnn
