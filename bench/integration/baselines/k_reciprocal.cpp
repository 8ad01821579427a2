#include "k_reciprocal.h"

#include <algorithm>
#include <cmath>

namespace halo::bench {

bool KReciprocal::in_list(NodeId of, NodeId node, std::size_t k) const {
  const auto ids = lists_.ids_of(of, k + 1);
  return std::find(ids.begin(), ids.end(), node) != ids.end();
}

// R(node, k): those of its k nearest that have it among theirs; the node itself too.
std::vector<NodeId> KReciprocal::reciprocal(NodeId node, std::size_t k) const {
  std::vector<NodeId> members;
  for (const NodeId other : lists_.ids_of(node, k + 1)) {
    if (in_list(other, node, k)) members.push_back(other);
  }
  std::sort(members.begin(), members.end());
  return members;
}

// R*(node, k1): joined by R(member, k1 / 2) where more than two thirds of that are in it already.
std::vector<NodeId> KReciprocal::expanded_set(NodeId node) const {
  const std::vector<NodeId> members = reciprocal(node, options_.k1);
  std::vector<NodeId> all = members, common;
  // nearbyint rounds halves to even, as the authors' program does.
  const auto half =
      static_cast<std::size_t>(std::nearbyint(static_cast<double>(options_.k1) / 2.0));
  for (const NodeId member : members) {
    const std::vector<NodeId> more = reciprocal(member, half);
    common.clear();
    std::set_intersection(more.begin(), more.end(), members.begin(), members.end(),
                          std::back_inserter(common));
    if (3 * common.size() > 2 * more.size()) all.insert(all.end(), more.begin(), more.end());
  }
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

double KReciprocal::distance(NodeId from, double similarity) const {
  const double largest = 2 - 2 * static_cast<double>(lists_.farthest[from]);
  return largest > 0 ? std::max(0.0, 2 - 2 * similarity) / largest : 0;
}

const KReciprocal::Encoding& KReciprocal::encoding(NodeId node) {
  std::optional<Encoding>& kept = encodings_[node];
  if (kept) return *kept;
  Encoding made;
  double sum = 0;
  for (const NodeId other : expanded_set(node)) {
    const double similarity = other == node ? 1.0 : nodes_.similarity(node, other);
    made.emplace_back(other, std::exp(-distance(node, similarity)));
    sum += made.back().second;
  }
  for (auto& [other, weight] : made) weight /= sum;
  return kept.emplace(std::move(made));
}

// Local query expansion: the mean encoding of the k2 nearest.
KReciprocal::Encoding KReciprocal::averaged(NodeId node) {
  const auto members = lists_.ids_of(node, options_.k2);
  const double share = 1.0 / static_cast<double>(members.size());
  Encoding all;
  for (const NodeId member : members) {
    for (const auto& [other, weight] : encoding(member)) all.emplace_back(other, share * weight);
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  Encoding merged;
  for (const auto& [other, weight] : all) {
    if (merged.empty() || merged.back().first != other) merged.emplace_back(other, 0.0);
    merged.back().second += weight;
  }
  return merged;
}

std::vector<float> KReciprocal::scores(NodeId query, std::span<const NodeId> candidates) {
  const Encoding own = averaged(query);
  std::vector<float> scores;
  scores.reserve(candidates.size());
  for (const NodeId candidate : candidates) {
    const Encoding other = averaged(candidate);
    double smaller = 0;
    for (auto a = own.begin(), b = other.begin(); a != own.end() && b != other.end();) {
      if (a->first == b->first) {
        smaller += std::min(a++->second, b++->second);
      } else {
        ++(a->first < b->first ? a : b);
      }
    }
    const double jaccard = 1 - smaller / (2 - smaller);
    const double original = distance(query, nodes_.similarity(query, candidate));
    scores.push_back(
        static_cast<float>(-((1 - options_.lambda) * jaccard + options_.lambda * original)));
  }
  return scores;
}

}  // namespace halo::bench
