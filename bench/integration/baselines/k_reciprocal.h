// Re-ranking by k-reciprocal encoding: Zhong, Zheng, Cao, Li, "Re-ranking Person Re-identification
// with k-reciprocal Encoding", CVPR 2017.
//
// Not thread-safe: encodings are kept as they are asked for.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "neighbour_lists.h"

namespace halo::bench {

struct KReciprocalOptions {
  std::size_t k1 = 20;  ///< k of the reciprocal sets
  std::size_t k2 = 6;   ///< nodes whose encodings are averaged, itself among them
  double lambda = 0.3;  ///< share of the original distance
};

class KReciprocal {
 public:
  /// Both must outlive this; `lists` are those of `nodes`, at least k1 + 1 deep or complete.
  KReciprocal(const NeighbourLists& lists, const Nodes& nodes, const KReciprocalOptions& options)
      : lists_(lists), nodes_(nodes), options_(options), encodings_(lists.rows()) {}

  /// Minus (1 - lambda) Jaccard + lambda original distance, so that larger is better. The original
  /// distance is the squared Euclidean one divided by the largest from `query`.
  std::vector<float> scores(NodeId query, std::span<const NodeId> candidates);

 private:
  /// Weights by ascending node; they sum to 1.
  using Encoding = std::vector<std::pair<NodeId, double>>;

  bool in_list(NodeId of, NodeId node, std::size_t k) const;
  std::vector<NodeId> reciprocal(NodeId node, std::size_t k) const;
  std::vector<NodeId> expanded_set(NodeId node) const;
  double distance(NodeId from, double similarity) const;
  const Encoding& encoding(NodeId node);
  Encoding averaged(NodeId node);

  const NeighbourLists& lists_;
  const Nodes& nodes_;
  KReciprocalOptions options_;
  std::vector<std::optional<Encoding>> encodings_;
};

}  // namespace halo::bench
