// Which class each base vector probably belongs to: known labels, spread over a weighted graph.
//
//   F <- reach D^-1/2 W D^-1/2 F + (1 - reach) Y,  W = (A + A^T) / 2,  D its row sums
//
// (Zhou et al.: "Learning with local and global consistency", 2004), with sparse rows: only a
// node's likeliest classes are kept. The labels of a class weigh together what its share of all
// vectors is (class_shares()), however many of them chance has drawn. P(c | i) is F_ic^power over
// the row's sum; a labelled node's class is its label.
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

/// Every class's share of all vectors, from how many of its labels were seen: the counts, drawn to
/// equal shares as far as they are no more uneven than chance makes them (the shrinkage estimator
/// of Hausser and Strimmer, "Entropy inference and the James-Stein estimator", 2009). Sums to 1.
std::vector<double> class_shares(std::span<const std::size_t> counts);

struct PropagationOptions {
  float reach = 0.9F;       ///< 0 to below 1: raising it lets labels go further
  std::size_t rounds = 30;  ///< raising it costs time, linearly; reach^rounds is left undone
  float power = 1.0F;       ///< above 0: raising it makes the posteriors surer
};

/// `labels` [n] holds a class below `num_classes` or kNoClass. A node that no label reaches takes
/// the softmax of its row of `logits(begin, end, out [end - begin, num_classes])`, which comes in
/// zeros. Throws kInvalidArgument for a label out of range. The same bytes at any number of
/// threads. O(rounds n width kClassesKept), and n num_classes where labels do not reach.
ClassPosteriors propagate_labels(
    std::span<const std::uint32_t> labels, std::size_t num_classes, const WeightedEdges& edges,
    const PropagationOptions& options,
    const std::function<void(std::size_t, std::size_t, const MatrixSpan&)>& logits,
    const Executor& executor, const Job& job = {});

}  // namespace halo::gnn
