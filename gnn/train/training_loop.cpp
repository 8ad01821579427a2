#include "halo/gnn/train/training_loop.h"

#include <algorithm>

#include "halo/core/error.h"
#include "halo/gnn/train/adam.h"

namespace halo::gnn {
namespace {

std::vector<Matrix> copies_of(const auto& matrices) {
  std::vector<Matrix> copies;
  for (const auto& matrix : matrices) copies.push_back(Matrix::copy_of(matrix));
  return copies;
}

void assign(std::span<const Matrix> from, std::span<const MatrixSpan> to) {
  for (std::size_t p = 0; p < to.size(); ++p) {
    for (std::size_t i = 0; i < to[p].rows; ++i) {
      std::copy_n(from[p].row(i), to[p].cols, to[p].row(i));
    }
  }
}

void check_shapes(const LoopState& from, std::span<const MatrixSpan> parameters) {
  const auto same = [&](const std::vector<Matrix>& matrices, std::size_t each) {
    if (matrices.size() != each * parameters.size()) return false;
    for (std::size_t m = 0; m < matrices.size(); ++m) {
      const MatrixSpan& like = parameters[m / each];
      if (matrices[m].rows() != like.rows || matrices[m].cols() != like.cols) return false;
    }
    return true;
  };
  if (!same(from.parameters, 1) || !same(from.kept, 1) || !same(from.moments, 2)) {
    throw Error(ErrorCode::kModelMismatch, "a checkpoint of another training");
  }
}

}  // namespace

LoopState copy_of(const LoopState& state) {
  LoopState copy;
  copy.step = state.step;
  copy.best_step = state.best_step;
  copy.checks_without_gain = state.checks_without_gain;
  copy.best = state.best;
  copy.done = state.done;
  copy.losses = state.losses;
  copy.parameters = copies_of(state.parameters);
  copy.moments = copies_of(state.moments);
  copy.kept = copies_of(state.kept);
  return copy;
}

LoopState run_training_loop(std::string_view stage, std::span<const MatrixSpan> parameters,
                            const LoopOptions& options, const LossAndGradients& step,
                            const std::function<double()>& validate,
                            const Checkpointing& checkpointing, const Job& job) {
  LoopState state;
  Adam adam;
  std::vector<Matrix> gradients;
  std::vector<MatrixSpan> gradient_spans;
  for (const MatrixSpan& parameter : parameters) {
    gradients.emplace_back(parameter.rows, parameter.cols);
    gradient_spans.push_back(gradients.back());
  }
  const std::vector<MatrixView> gradient_views(gradients.begin(), gradients.end());
  if (checkpointing.from != nullptr) {
    const LoopState& from = *checkpointing.from;
    check_shapes(from, parameters);
    assign(from.parameters, parameters);
    adam.restore(from.step, copies_of(from.moments));
    state = copy_of(from);
  } else {
    if (validate) state.best = validate();
    state.kept = copies_of(parameters);
  }
  const Stage progress(job, stage, options.steps);
  job.advance(state.step);
  while (!state.done && state.step < options.steps) {
    job.check();
    state.losses.push_back(step(state.step, gradient_spans));
    adam.step(parameters, gradient_views, cosine_decay(options.rate, state.step, options.steps));
    ++state.step;
    job.advance(1);
    const bool last = state.step == options.steps;
    if (!last && state.step % options.check_every != 0) continue;
    const double score = validate ? validate() : 0.0;
    if (!validate || score > state.best) {
      state.best = score;
      state.best_step = state.step;
      state.checks_without_gain = 0;
      state.kept = copies_of(parameters);
    } else {
      ++state.checks_without_gain;
    }
    state.done = last || state.checks_without_gain >= options.patience;
    if (checkpointing.save) {
      state.parameters = copies_of(parameters);
      state.moments = copies_of(adam.moments());
      checkpointing.save(state);
    }
  }
  assign(state.kept, parameters);
  return state;
}

}  // namespace halo::gnn
