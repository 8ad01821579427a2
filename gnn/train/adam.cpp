#include "halo/gnn/train/adam.h"

#include <cmath>
#include <numbers>
#include <utility>

#include "halo/core/error.h"

namespace halo::gnn {

void AdamOptions::validate() const {
  const bool holds = beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1 && epsilon > 0 &&
                     std::isfinite(epsilon) && weight_decay >= 0 && std::isfinite(weight_decay);
  if (!holds) throw Error(ErrorCode::kInvalidArgument, "Adam: an option is out of range");
}

Adam::Adam(const AdamOptions& options) : options_(options) { options_.validate(); }

void Adam::step(std::span<const MatrixSpan> parameters, std::span<const MatrixView> gradients,
                float rate) {
  if (moments_.empty()) {
    for (const MatrixSpan& parameter : parameters) {
      moments_.emplace_back(parameter.rows, parameter.cols);
      moments_.emplace_back(parameter.rows, parameter.cols);
    }
  }
  bool fits = parameters.size() == gradients.size() && moments_.size() == 2 * parameters.size();
  for (std::size_t p = 0; fits && p < parameters.size(); ++p) {
    fits = parameters[p].rows == gradients[p].rows && parameters[p].cols == gradients[p].cols &&
           parameters[p].rows == moments_[2 * p].rows() &&
           parameters[p].cols == moments_[2 * p].cols();
  }
  if (!fits) throw Error(ErrorCode::kDimensionMismatch, "Adam: other parameters than before");
  ++steps_;
  const auto t = static_cast<double>(steps_);
  const auto mean_scale = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta1, t)));
  const auto square_scale = static_cast<float>(1.0 / (1.0 - std::pow(options_.beta2, t)));
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    for (std::size_t i = 0; i < parameters[p].rows; ++i) {
      float* x = parameters[p].row(i);
      const float* gradient = gradients[p].row(i);
      float* mean = moments_[2 * p].row(i);
      float* square = moments_[2 * p + 1].row(i);
      for (std::size_t d = 0; d < parameters[p].cols; ++d) {
        const float g = gradient[d] + options_.weight_decay * x[d];
        mean[d] += (1.0F - options_.beta1) * (g - mean[d]);
        square[d] += (1.0F - options_.beta2) * (g * g - square[d]);
        x[d] -=
            rate * mean_scale * mean[d] / (std::sqrt(square_scale * square[d]) + options_.epsilon);
      }
    }
  }
}

std::vector<MatrixView> Adam::moments() const { return {moments_.begin(), moments_.end()}; }

void Adam::restore(std::uint64_t steps, std::vector<Matrix> moments) {
  steps_ = steps;
  moments_ = std::move(moments);
}

float cosine_decay(float base, std::uint64_t step, std::uint64_t steps) {
  const double share = static_cast<double>(step) / static_cast<double>(steps);
  return static_cast<float>(base * 0.5 * (1.0 + std::cos(std::numbers::pi * share)));
}

}  // namespace halo::gnn
