#include "gnn_reranking.h"

#include <cmath>
#include <utility>

namespace halo::bench {

GnnReranking::GnnReranking(const NeighbourLists& lists, const GnnOptions& options)
    : lists_(lists), options_(options) {
  const std::size_t n = lists.rows();
  rows_.begins.push_back(0);
  for (std::size_t i = 0; i < n; ++i) {
    for (const NodeId j : lists.ids_of(i, options.k1)) {
      rows_.ids.push_back(j);
      rows_.values.push_back(1);
    }
    rows_.begins.push_back(rows_.ids.size());
  }
  columns_ = transposed(rows_);
  Sum sum{std::vector<float>(n), {}};
  for (std::size_t t = 1; t < options.steps; ++t) {
    Rows next;
    next.begins.push_back(0);
    for (std::size_t i = 0; i < n; ++i) {
      step(static_cast<NodeId>(i), sum);
      for (const NodeId j : sum.touched) {
        next.ids.push_back(j);
        next.values.push_back(sum.values[j]);
      }
      next.begins.push_back(next.ids.size());
      clear(sum);
    }
    columns_ = transposed(next);
    rows_ = std::move(next);
  }
}

GnnReranking::Rows GnnReranking::transposed(const Rows& rows) {
  const std::size_t n = rows.begins.size() - 1;
  Rows turned;
  turned.begins.assign(n + 1, 0);
  for (const NodeId j : rows.ids) ++turned.begins[j + 1];
  for (std::size_t j = 0; j < n; ++j) turned.begins[j + 1] += turned.begins[j];
  turned.ids.resize(rows.ids.size());
  turned.values.resize(rows.ids.size());
  std::vector<std::size_t> next(turned.begins.begin(), turned.begins.end() - 1);
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t e = rows.begins[i]; e < rows.begins[i + 1]; ++e) {
      const std::size_t at = next[rows.ids[e]]++;
      turned.ids[at] = static_cast<NodeId>(i);
      turned.values[at] = rows.values[e];
    }
  }
  return turned;
}

void GnnReranking::add(const Rows& rows, NodeId row, float weight, Sum& sum) {
  for (std::size_t e = rows.begins[row]; e < rows.begins[row + 1]; ++e) {
    float& value = sum.values[rows.ids[e]];
    if (value == 0) sum.touched.push_back(rows.ids[e]);
    value += weight * rows.values[e];
  }
}

void GnnReranking::step(NodeId node, Sum& sum) const {
  const auto sims = lists_.sims_of(node);
  const auto nearest = lists_.ids_of(node, options_.k2);
  for (std::size_t r = 0; r < nearest.size(); ++r) {
    const float weight = std::pow(sims[r], static_cast<float>(options_.alpha));
    if (weight == 0) continue;  // so that a value is 0 only where it was never touched
    add(rows_, nearest[r], weight, sum);
    add(columns_, nearest[r], weight, sum);
  }
  double squares = 0;
  for (const NodeId j : sum.touched) {
    squares += static_cast<double>(sum.values[j]) * static_cast<double>(sum.values[j]);
  }
  if (squares == 0) return;
  const auto scale = static_cast<float>(1 / std::sqrt(squares));
  for (const NodeId j : sum.touched) sum.values[j] *= scale;
}

void GnnReranking::clear(Sum& sum) {
  for (const NodeId j : sum.touched) sum.values[j] = 0;
  sum.touched.clear();
}

std::vector<float> GnnReranking::scores(NodeId query, std::span<const NodeId> candidates) const {
  const std::size_t n = lists_.rows();
  Sum own{std::vector<float>(n), {}}, other{std::vector<float>(n), {}};
  step(query, own);
  std::vector<float> scores;
  scores.reserve(candidates.size());
  for (const NodeId candidate : candidates) {
    step(candidate, other);
    double dot = 0;
    for (const NodeId j : other.touched) {
      dot += static_cast<double>(own.values[j]) * static_cast<double>(other.values[j]);
    }
    scores.push_back(static_cast<float>(dot));
    clear(other);
  }
  return scores;
}

}  // namespace halo::bench
