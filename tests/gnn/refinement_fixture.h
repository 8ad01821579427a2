// Clustered vectors with a refinement model of two heads over their exact nearest neighbours.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <utility>
#include <vector>

#include "halo/core/kernels/distance.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_heads.h"
#include "support/test_support.h"

namespace halo::test {

struct RefinementFixture {
  static constexpr std::size_t kRows = 300, kDim = 24;
  Matrix vectors = clustered_matrix(kRows, kDim, 12, 0.4F, 5);
  gnn::RefinementParts parts;

  explicit RefinementFixture(float global_gate = 0.0F) {
    for (std::size_t i = 0; i < kRows; ++i) kernels::normalise(vectors.row(i), kDim);
    std::vector<std::vector<std::uint32_t>> rows(kRows);
    for (std::uint32_t i = 0; i < kRows; ++i) {
      rows[i] = nearest(vectors.row(i), 41);
      rows[i].erase(std::remove(rows[i].begin(), rows[i].end(), i), rows[i].end());
      std::sort(rows[i].begin(), rows[i].end());
    }
    const CsrMask wide = CsrMask::from_rows(std::move(rows), kRows);
    gnn::RefineOptions options;
    options.window = 16;
    options.structure.window = 12;
    options.layer.global_gate = global_gate;
    static const std::vector<std::uint32_t> kGlobal{3, 50, 200};
    const auto global = [](std::size_t) { return std::span<const std::uint32_t>(kGlobal); };
    const Executor executor(1);
    const gnn::Spectrum spectrum = gnn::covariance_spectrum(vectors, kRows, executor);
    const std::vector<gnn::HeadPlan> plans = {
        {"c", 0.4F, 0.5F, gnn::centred_projection(spectrum)},
        {"s", 0.6F, 0.0F, gnn::spectral_projection(spectrum, 10)}};
    parts = gnn::prepare_heads(vectors, true, wide, global, options, plans, executor);
    parts.edges.assign(kRows * gnn::kCoherenceEdges, gnn::kNoEdge);
    parts.base_coherence = 0.5;
  }

  /// The nearest `count` rows to `query` by cosine, nearest first.
  std::vector<std::uint32_t> nearest(const float* query, std::size_t count) const {
    std::vector<std::uint32_t> order(kRows);
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) {
      return kernels::dot(query, vectors.row(a), kDim) > kernels::dot(query, vectors.row(b), kDim);
    });
    order.resize(count);
    return order;
  }
  std::vector<float> distances(const float* query, const std::vector<std::uint32_t>& nodes) const {
    std::vector<float> out;
    for (const auto node : nodes) {
      out.push_back(1.0F - kernels::dot(query, vectors.row(node), kDim));
    }
    return out;
  }
};

}  // namespace halo::test
