#include "halo/gnn/class_posteriors.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "halo/attention/row_adaptive_attention.h"
#include "halo/core/error.h"
#include "halo/core/kernels/softmax.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 256;
constexpr float kOneSided = 0.3F;

// Probabilities of all classes of one node while they are summed.
class Sums {
 public:
  explicit Sums(std::size_t num_classes) : values_(num_classes, 0.0F) {}

  void add(std::uint32_t label, float value) {
    if (values_[label] == 0.0F) touched_.push_back(label);
    values_[label] += value;
  }
  void add_row(const ClassPosteriors& from, std::size_t row, float weight) {
    for (std::size_t k = row * kClassesKept; k < (row + 1) * kClassesKept; ++k) {
      if (from.classes[k] == kNoClass) break;
      add(from.classes[k], weight * from.roots[k] * from.roots[k]);
    }
  }
  // Writes the likeliest as row `row` of `to`, and starts anew.
  void take(ClassPosteriors& to, std::size_t row) {
    const std::size_t kept = std::min(kClassesKept, touched_.size());
    std::partial_sort(touched_.begin(), touched_.begin() + static_cast<std::ptrdiff_t>(kept),
                      touched_.end(), [&](std::uint32_t a, std::uint32_t b) {
                        return values_[a] != values_[b] ? values_[a] > values_[b] : a < b;
                      });
    float sum = 0;
    for (std::size_t k = 0; k < kept; ++k) sum += values_[touched_[k]];
    for (std::size_t k = 0; k < kClassesKept; ++k) {
      const bool used = k < kept && values_[touched_[k]] > 0;
      to.classes[row * kClassesKept + k] = used ? touched_[k] : kNoClass;
      to.roots[row * kClassesKept + k] = used ? std::sqrt(values_[touched_[k]] / sum) : 0.0F;
    }
    for (const std::uint32_t label : touched_) values_[label] = 0.0F;
    touched_.clear();
  }

 private:
  std::vector<float> values_;
  std::vector<std::uint32_t> touched_;
};

ClassPosteriors empty_posteriors(std::size_t rows) {
  return {std::vector<std::uint32_t>(rows * kClassesKept, kNoClass),
          std::vector<float>(rows * kClassesKept, 0.0F)};
}

}  // namespace

WeightedEdges attention_edges(std::span<const std::uint32_t> windows,
                              std::span<const float> cosines, std::size_t stride, std::size_t width,
                              float sharpness, const Executor& executor) {
  WeightedEdges edges;
  edges.width = std::min(width, stride);
  const std::size_t n = stride == 0 ? 0 : windows.size() / stride;
  edges.nodes.assign(n * edges.width, kNoNode);
  edges.weights.assign(n * edges.width, 0.0F);
  executor.parallel_for(n, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto row = windows.subspan(i * stride, edges.width);
      const auto size =
          static_cast<std::size_t>(std::find(row.begin(), row.end(), kNoNode) - row.begin());
      const std::span<float> weights(edges.weights.data() + i * edges.width, size);
      std::copy_n(row.begin(), size,
                  edges.nodes.begin() + static_cast<std::ptrdiff_t>(i * edges.width));
      std::copy_n(cosines.begin() + static_cast<std::ptrdiff_t>(i * stride), size, weights.begin());
      attention::row_adaptive_weights(weights, sharpness);
      float sum = 0;
      for (std::size_t e = 0; e < size; ++e) {
        const auto back = windows.subspan(row[e] * stride, edges.width);
        if (std::find(back.begin(), back.end(), i) == back.end()) weights[e] *= kOneSided;
        sum += weights[e];
      }
      for (float& weight : weights) weight /= sum;
    }
  });
  return edges;
}

ClassPosteriors propagate_labels(
    std::span<const std::uint32_t> labels, std::size_t num_classes, const WeightedEdges& edges,
    std::size_t rounds,
    const std::function<void(std::size_t, std::size_t, const MatrixSpan&)>& logits,
    const Executor& executor, const Job& job) {
  for (const std::uint32_t label : labels) {
    if (label != kNoClass && label >= num_classes) {
      throw Error(ErrorCode::kInvalidArgument, "label " + std::to_string(label) + " of " +
                                                   std::to_string(num_classes) + " classes");
    }
  }
  ClassPosteriors now = empty_posteriors(labels.size());
  executor.parallel_for(labels.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    job.check();
    Matrix rows(end - begin, num_classes);
    logits(begin, end, rows);
    Sums sums(num_classes);
    for (std::size_t i = begin; i < end; ++i) {
      float* row = rows.row(i - begin);
      kernels::softmax_lse(row, num_classes);
      if (labels[i] != kNoClass) {
        sums.add(labels[i], 1.0F);
      } else {
        for (std::uint32_t label = 0; label < num_classes; ++label) sums.add(label, row[label]);
      }
      sums.take(now, i);
    }
  });
  ClassPosteriors next = now;
  for (std::size_t round = 0; round < rounds; ++round) {
    executor.parallel_for(labels.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
      job.check();
      Sums sums(num_classes);
      for (std::size_t i = begin; i < end; ++i) {
        if (labels[i] != kNoClass) continue;
        sums.add_row(now, i, 0.5F);
        for (std::size_t e = i * edges.width; e < (i + 1) * edges.width; ++e) {
          if (edges.nodes[e] == kNoNode) break;
          sums.add_row(now, edges.nodes[e], 0.5F * edges.weights[e]);
        }
        sums.take(next, i);
      }
    });
    std::swap(now, next);
  }
  return now;
}

}  // namespace halo::gnn
