#include "halo/gnn/class_posteriors.h"

#include <algorithm>
#include <array>
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

// What each node has of its likeliest classes: the rows of F.
struct Masses {
  explicit Masses(std::size_t rows)
      : classes(rows * kClassesKept, kNoClass), values(rows * kClassesKept, 0.0F) {}

  std::vector<std::uint32_t> classes;  // the most first, kNoClass where a row has fewer
  std::vector<float> values;
};

// The masses of all classes at one node while they are summed.
class Sums {
 public:
  explicit Sums(std::size_t num_classes) : values_(num_classes, 0.0F) {}

  void add(std::uint32_t label, float value) {
    if (value <= 0.0F) return;
    if (values_[label] == 0.0F) touched_.push_back(label);
    values_[label] += value;
  }
  void add_row(const Masses& from, std::size_t row, float weight) {
    for (std::size_t k = row * kClassesKept; k < (row + 1) * kClassesKept; ++k) {
      if (from.classes[k] == kNoClass) break;
      add(from.classes[k], weight * from.values[k]);
    }
  }
  // Writes the greatest as row `row` of `to`, and starts anew.
  void take(Masses& to, std::size_t row) {
    const std::size_t kept = std::min(kClassesKept, touched_.size());
    std::partial_sort(touched_.begin(), touched_.begin() + static_cast<std::ptrdiff_t>(kept),
                      touched_.end(), [&](std::uint32_t a, std::uint32_t b) {
                        return values_[a] != values_[b] ? values_[a] > values_[b] : a < b;
                      });
    for (std::size_t k = 0; k < kClassesKept; ++k) {
      to.classes[row * kClassesKept + k] = k < kept ? touched_[k] : kNoClass;
      to.values[row * kClassesKept + k] = k < kept ? values_[touched_[k]] : 0.0F;
    }
    for (const std::uint32_t label : touched_) values_[label] = 0.0F;
    touched_.clear();
  }

 private:
  std::vector<float> values_;
  std::vector<std::uint32_t> touched_;
};

// D^-1/2 W D^-1/2 by rows.
struct SymmetricEdges {
  std::vector<std::size_t> offsets;
  std::vector<std::uint32_t> nodes;
  std::vector<float> weights;
};

SymmetricEdges symmetric(const WeightedEdges& edges) {
  const std::size_t n = edges.width == 0 ? 0 : edges.nodes.size() / edges.width;
  const auto row = [&](std::size_t i) {
    const auto all = std::span(edges.nodes).subspan(i * edges.width, edges.width);
    return all.first(
        static_cast<std::size_t>(std::find(all.begin(), all.end(), kNoNode) - all.begin()));
  };
  // An edge whose node does not name it back is one of both its ends.
  const auto each = [&](const auto& take) {
    for (std::uint32_t i = 0; i < n; ++i) {
      const auto neighbours = row(i);
      for (std::size_t e = 0; e < neighbours.size(); ++e) {
        const std::uint32_t j = neighbours[e];
        const auto back = row(j);
        const auto at =
            static_cast<std::size_t>(std::find(back.begin(), back.end(), i) - back.begin());
        const float weight = 0.5F * edges.weights[i * edges.width + e];
        if (at < back.size()) {
          take(i, j, weight + 0.5F * edges.weights[j * edges.width + at]);
        } else {
          take(i, j, weight);
          take(j, i, weight);
        }
      }
    }
  };
  SymmetricEdges out;
  out.offsets.assign(n + 1, 0);
  std::vector<double> degrees(n, 0.0);
  each([&](std::uint32_t i, std::uint32_t, float weight) {
    ++out.offsets[i + 1];
    degrees[i] += static_cast<double>(weight);
  });
  for (std::size_t i = 0; i < n; ++i) out.offsets[i + 1] += out.offsets[i];
  out.nodes.resize(out.offsets[n]);
  out.weights.resize(out.offsets[n]);
  std::vector<std::size_t> next(out.offsets.begin(), out.offsets.end() - 1);
  each([&](std::uint32_t i, std::uint32_t j, float weight) {
    const double scale = std::sqrt(degrees[i] * degrees[j]);
    out.nodes[next[i]] = j;
    out.weights[next[i]++] =
        scale > 0 ? static_cast<float>(static_cast<double>(weight) / scale) : 0.0F;
  });
  return out;
}

// What one label of each class counts for: 1 on average.
std::vector<float> label_masses(std::span<const std::uint32_t> labels, std::size_t num_classes) {
  std::vector<std::size_t> counts(num_classes, 0);
  std::size_t all = 0;
  for (const std::uint32_t label : labels) {
    if (label == kNoClass) continue;
    if (label >= num_classes) {
      throw Error(ErrorCode::kInvalidArgument, "label " + std::to_string(label) + " of " +
                                                   std::to_string(num_classes) + " classes");
    }
    ++counts[label];
    ++all;
  }
  const std::vector<double> shares = class_shares(counts);
  std::vector<float> masses(num_classes, 0.0F);
  for (std::size_t c = 0; c < num_classes; ++c) {
    if (counts[c] == 0) continue;
    masses[c] =
        static_cast<float>(shares[c] * static_cast<double>(all) / static_cast<double>(counts[c]));
  }
  return masses;
}

// Row `row` of `to`: F's to the power, over their sum.
void write_posterior(const Masses& from, std::size_t row, float power, ClassPosteriors& to) {
  const std::size_t begin = row * kClassesKept;
  float sum = 0;
  std::array<float, kClassesKept> shares{};
  for (std::size_t k = 0; k < kClassesKept && from.classes[begin + k] != kNoClass; ++k) {
    shares[k] = std::pow(from.values[begin + k] / from.values[begin], power);
    sum += shares[k];
  }
  for (std::size_t k = 0; k < kClassesKept; ++k) {
    const bool used = shares[k] > 0;
    to.classes[begin + k] = used ? from.classes[begin + k] : kNoClass;
    to.roots[begin + k] = used ? std::sqrt(shares[k] / sum) : 0.0F;
  }
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

std::vector<double> class_shares(std::span<const std::size_t> counts) {
  const auto classes = static_cast<double>(counts.size());
  double all = 0, squares = 0, apart = 0;
  for (const std::size_t count : counts) all += static_cast<double>(count);
  for (const std::size_t count : counts) {
    const double share = all > 0 ? static_cast<double>(count) / all : 0.0;
    squares += share * share;
    apart += (1 / classes - share) * (1 / classes - share);
  }
  const double noise = (1 - squares) / (all - 1);  // the expected part of `apart`
  const double drawn = all > 1 && noise < apart ? noise / apart : 1.0;
  std::vector<double> shares;
  for (const std::size_t count : counts) {
    const double share = all > 0 ? static_cast<double>(count) / all : 0.0;
    shares.push_back(drawn / classes + (1 - drawn) * share);
  }
  return shares;
}

ClassPosteriors propagate_labels(
    std::span<const std::uint32_t> labels, std::size_t num_classes, const WeightedEdges& edges,
    const PropagationOptions& options,
    const std::function<void(std::size_t, std::size_t, const MatrixSpan&)>& logits,
    const Executor& executor, const Job& job) {
  const std::size_t n = labels.size();
  const std::vector<float> masses = label_masses(labels, num_classes);
  const SymmetricEdges graph = symmetric(edges);
  Masses now(n), next(n);
  const auto each_row = [&](const auto& body) {
    executor.parallel_for(n, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
      job.check();
      Sums sums(num_classes);
      body(begin, end, sums);
    });
  };
  const auto add_label = [&](std::size_t i, Sums& sums) {
    if (labels[i] != kNoClass) sums.add(labels[i], (1.0F - options.reach) * masses[labels[i]]);
  };
  for (std::size_t round = 0; round <= options.rounds; ++round) {
    each_row([&](std::size_t begin, std::size_t end, Sums& sums) {
      for (std::size_t i = begin; i < end; ++i) {
        add_label(i, sums);
        const std::size_t last = round == 0 ? graph.offsets[i] : graph.offsets[i + 1];
        for (std::size_t e = graph.offsets[i]; e < last; ++e) {
          sums.add_row(now, graph.nodes[e], options.reach * graph.weights[e]);
        }
        sums.take(next, i);
      }
    });
    std::swap(now, next);
  }
  ClassPosteriors posteriors{std::vector<std::uint32_t>(n * kClassesKept, kNoClass),
                             std::vector<float>(n * kClassesKept, 0.0F)};
  each_row([&](std::size_t begin, std::size_t end, Sums& sums) {
    Matrix rows;
    for (std::size_t i = begin; i < end; ++i) {
      float power = options.power;
      if (labels[i] != kNoClass) {
        sums.add(labels[i], 1.0F);
        sums.take(now, i);
      } else if (now.classes[i * kClassesKept] == kNoClass) {
        if (rows.rows() == 0) {
          rows = Matrix(end - begin, num_classes);
          logits(begin, end, rows);
        }
        float* row = rows.row(i - begin);
        kernels::softmax_lse(row, num_classes);
        for (std::uint32_t label = 0; label < num_classes; ++label) sums.add(label, row[label]);
        sums.take(now, i);
        power = 1.0F;
      }
      write_posterior(now, i, power, posteriors);
    }
  });
  return posteriors;
}

}  // namespace halo::gnn
