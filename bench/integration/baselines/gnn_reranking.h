// Re-ranking by a graph without parameters: Zhang, Jiang, Zheng, Tan, Ji, Sun, "Understanding Image
// Retrieval Re-Ranking: A Graph Neural Network Perspective", 2020 (arXiv 2012.07620).
//
// A node starts as the indicator of its k1 nearest. A step adds the transpose, sums each node's k2
// nearest rows weighted by similarity to the power alpha, and scales rows to unit length. Score:
// cosine after two steps. Thread-safety: scores() may be called by several threads.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "neighbour_lists.h"

namespace halo::bench {

struct GnnOptions {
  std::size_t k1 = 26;  ///< ones of the first rows, the node itself among them
  std::size_t k2 = 7;   ///< rows that a step sums, the node's own among them
  int alpha = 2;        ///< power of the similarity
  std::size_t steps = 2;
};

class GnnReranking {
 public:
  /// Takes all steps but the last for every node. `lists` must outlive this and be at least k1 deep
  /// or complete. O(n k2 (entries a row)).
  GnnReranking(const NeighbourLists& lists, const GnnOptions& options);

  /// The candidates' cosines with `query` after the last step.
  std::vector<float> scores(NodeId query, std::span<const NodeId> candidates) const;

 private:
  struct Rows {
    std::vector<std::size_t> begins;
    std::vector<NodeId> ids;
    std::vector<float> values;
  };
  /// One row being summed: dense values, and where they are not 0.
  struct Sum {
    std::vector<float> values;
    std::vector<NodeId> touched;
  };

  static Rows transposed(const Rows& rows);
  /// sum += weight row.
  static void add(const Rows& rows, NodeId row, float weight, Sum& sum);
  /// Row `node` after one more step, at unit length; call clear() before the next.
  void step(NodeId node, Sum& sum) const;
  static void clear(Sum& sum);

  const NeighbourLists& lists_;
  GnnOptions options_;
  Rows rows_, columns_;  // before the last step
};

}  // namespace halo::bench
