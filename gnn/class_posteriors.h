// Which class each base vector probably belongs to: known labels, spread over a weighted graph.
//
//   G_i <- G_i / 2 + (sum_j a_ij G_j) / 2, labelled nodes held at their label
//
// (Zhu, Ghahramani, Lafferty: "Semi-supervised learning using Gaussian fields and harmonic
// functions", 2003), with sparse rows: only a node's likeliest classes are kept.
//
// Thread-safety: a ClassPosteriors is a value; functions are pure and run on the executor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"

namespace halo::gnn {

inline constexpr std::uint32_t kNoClass = 0xffffffffU;
inline constexpr std::uint32_t kNoNode = 0xffffffffU;
inline constexpr std::size_t kClassesKept = 8;

/// The likeliest classes of every node: row i is [i kClassesKept, (i + 1) kClassesKept).
struct ClassPosteriors {
  std::vector<std::uint32_t> classes;  ///< likeliest first, kNoClass where a row has fewer
  std::vector<float> roots;            ///< square roots of their probabilities, which sum to 1

  std::size_t rows() const { return classes.size() / kClassesKept; }
};

/// A fixed number of weighted edges a node: row i is [i width, (i + 1) width).
struct WeightedEdges {
  std::size_t width = 0;
  std::vector<std::uint32_t> nodes;  ///< kNoNode where a row has fewer
  std::vector<float> weights;        ///< a row sums to 1, or to 0 without edges
};

/// Row-adaptive attention weights over each node's `width` nearest of `windows` [n, stride]
/// (nearest first, kNoNode padded) by their cosines [n, stride], edges that are not mutual times
/// 0.3, each row divided by its sum. O(n width^2).
WeightedEdges attention_edges(std::span<const std::uint32_t> windows,
                              std::span<const float> cosines, std::size_t stride, std::size_t width,
                              float sharpness, const Executor& executor);

/// The posteriors after `rounds` of propagation: `labels` [n] holds a class below `num_classes` or
/// kNoClass; `logits(begin, end, out [end - begin, num_classes])` gives the rows of unlabelled
/// nodes before the first round (their softmax). Throws kInvalidArgument for a label out of range.
/// O(n num_classes + rounds n width kClassesKept).
ClassPosteriors propagate_labels(
    std::span<const std::uint32_t> labels, std::size_t num_classes, const WeightedEdges& edges,
    std::size_t rounds,
    const std::function<void(std::size_t, std::size_t, const MatrixSpan&)>& logits,
    const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
