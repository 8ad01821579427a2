#include "query_expansion.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::bench {

namespace {

float alpha_weight(float similarity, double alpha) {
  return static_cast<float>(std::pow(std::max(0.0, static_cast<double>(similarity)), alpha));
}

// `weight(node, rank)` is that of a node's list at that rank.
template <class Weight>
Matrix augment(const MatrixView& base, const NeighbourLists& lists, std::size_t count,
               const Executor& executor, const Weight& weight) {
  Matrix augmented = Matrix::padded(base.rows, base.cols);
  executor.parallel_for(base.rows, 64, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const auto ids = lists.ids_of(i, count);
      for (std::size_t r = 0; r < ids.size(); ++r) {
        kernels::axpy(weight(i, r), base.row(ids[r]), augmented.row(i), base.cols);
      }
      kernels::normalise(augmented.row(i), base.cols);
    }
  });
  return augmented;
}

}  // namespace

Matrix augment_database(const MatrixView& base, const NeighbourLists& lists, std::size_t k,
                        const Executor& executor) {
  return augment(base, lists, k, executor, [&](std::size_t, std::size_t rank) {
    return static_cast<float>(k - rank) / static_cast<float>(k);
  });
}

Matrix alpha_augment_database(const MatrixView& base, const NeighbourLists& lists,
                              const AlphaOptions& options, const Executor& executor) {
  return augment(base, lists, options.neighbours + 1, executor,
                 [&](std::size_t node, std::size_t rank) {
                   return alpha_weight(lists.sims_of(node)[rank], options.alpha);
                 });
}

std::vector<float> alpha_expansion(std::span<const float> query, const MatrixView& base,
                                   std::span<const NodeId> candidates,
                                   const AlphaOptions& options) {
  const std::size_t count = candidates.size();
  std::vector<float> scores(count);
  const auto score_with = [&](const float* x) {
    for (std::size_t c = 0; c < count; ++c) {
      scores[c] = kernels::dot(x, base.row(candidates[c]), base.cols);
    }
  };
  score_with(query.data());
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
  order.resize(std::min(options.neighbours, count));
  std::vector<float> expanded(query.begin(), query.end());
  for (const std::size_t c : order) {
    kernels::axpy(alpha_weight(scores[c], options.alpha), base.row(candidates[c]), expanded.data(),
                  base.cols);
  }
  kernels::normalise(expanded.data(), expanded.size());
  score_with(expanded.data());
  return scores;
}

}  // namespace halo::bench
