#include "quality_methods.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <span>
#include <unordered_map>
#include <utility>

#include "baselines/gnn_reranking.h"
#include "baselines/k_reciprocal.h"
#include "baselines/neighbour_lists.h"
#include "baselines/query_expansion.h"
#include "halo/core/kernels/gemm.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"

namespace halo::bench {
namespace {

constexpr std::size_t kListDepth = 32;  // the deepest that a baseline reads is 26
constexpr std::size_t kAugmented = 20;
constexpr AlphaOptions kWide{3, 50}, kNarrow{3, 10};
constexpr std::size_t kBaselines = 6;
constexpr std::array<const char*, kBaselines> kNames = {
    "alpha-QE, n 50", "alpha-QE, n 10", "DBA + alpha-QE, n 10", "alpha-DBA + alpha-QE, n 10",
    "k-reciprocal",   "GNN re-ranking"};

/// The candidates of every query as rows of the base, nearest first.
using Candidates = std::vector<std::vector<NodeId>>;

Candidates candidates_of(const BatchResults& plain, std::span<const Id> ids) {
  std::unordered_map<Id, NodeId> row_of;
  for (std::size_t i = 0; i < ids.size(); ++i) row_of.emplace(ids[i], static_cast<NodeId>(i));
  Candidates candidates(plain.found.size());
  for (std::size_t q = 0; q < candidates.size(); ++q) {
    for (std::size_t r = 0; r < plain.found[q]; ++r) {
      candidates[q].push_back(row_of.at(plain.ids[q * plain.k + r]));
    }
  }
  return candidates;
}

class Baselines {
 public:
  Baselines(const QualityData& data, const Candidates& candidates, const QualityOptions& options,
            const Executor& executor)
      : data_(data),
        candidates_(candidates),
        k_(std::min(options.k, data.base.rows())),
        executor_(executor),
        lists_(exact_neighbours(data.base, kListDepth, executor)),
        augmented_(augment_database(data.base, lists_, kAugmented, executor)),
        alpha_augmented_(alpha_augment_database(data.base, lists_, kNarrow, executor)) {
    const std::size_t queries = data.queries.rows();
    results_.fill(std::vector<Id>(queries * k_, Id{-1}));
    const std::size_t share = options.together == 0 ? queries : std::min(options.together, queries);
    executor.parallel_for((queries + share - 1) / share, 1,
                          [&](std::size_t begin, std::size_t end) {
                            for (std::size_t group = begin; group < end; ++group) {
                              rank_group(group * share, std::min((group + 1) * share, queries));
                            }
                          });
  }

  ResultIds results(std::size_t baseline) const { return {results_[baseline], k_}; }

 private:
  void rank_group(std::size_t begin, std::size_t end) {
    const Executor one(1);
    const Nodes nodes{data_.base, data_.queries.view().sub_rows(begin, end - begin)};
    Matrix to_base(end - begin, data_.base.rows()), to_guests(end - begin, end - begin);
    kernels::gemm_nt(nodes.guests, nodes.base, to_base, one);
    kernels::gemm_nt(nodes.guests, nodes.guests, to_guests, one);
    const NeighbourLists joined = join(lists_, to_base, to_guests);
    KReciprocal k_reciprocal(joined, nodes, {});
    const GnnReranking gnn(joined, {});
    for (std::size_t q = begin; q < end; ++q) {
      const auto guest = static_cast<NodeId>(data_.base.rows() + q - begin);
      expand(q);
      keep(q, 4, k_reciprocal.scores(guest, candidates_[q]));
      keep(q, 5, gnn.scores(guest, candidates_[q]));
    }
  }

  void expand(std::size_t q) {
    const auto query = data_.queries.row_span(q);
    keep(q, 0, alpha_expansion(query, data_.base, candidates_[q], kWide));
    keep(q, 1, alpha_expansion(query, data_.base, candidates_[q], kNarrow));
    keep(q, 2, alpha_expansion(query, augmented_, candidates_[q], kNarrow));
    keep(q, 3, alpha_expansion(query, alpha_augmented_, candidates_[q], kNarrow));
  }

  // Ties keep the plain order.
  void keep(std::size_t q, std::size_t baseline, std::span<const float> scores) {
    std::vector<std::size_t> order(scores.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](std::size_t a, std::size_t b) { return scores[a] > scores[b]; });
    for (std::size_t r = 0; r < std::min(k_, order.size()); ++r) {
      results_[baseline][q * k_ + r] = data_.ids[candidates_[q][order[r]]];
    }
  }

  const QualityData& data_;
  const Candidates& candidates_;
  std::size_t k_;
  const Executor& executor_;
  NeighbourLists lists_;
  Matrix augmented_, alpha_augmented_;
  std::array<std::vector<Id>, kBaselines> results_;
};

}  // namespace

Methods run_methods(const QualityData& data, const QualityOptions& options,
                    const Executor& executor) {
  BuildOptions build;
  build.metric = Metric::kCosine;
  const Engine engine = Engine::build(data.base, data.ids, build, executor).refined({}, executor);

  QueryOptions query;
  query.k = query.candidates = query.ef = std::min(options.candidates, data.base.rows());
  const BatchResults plain = engine.search(data.queries, query, executor);
  query.k = std::min(options.k, query.k);
  query.refine = RefineMode::kAuto;
  const BatchResults refined = engine.search(data.queries, query, executor);

  Methods methods{{}, refined.gate};
  auto& results = methods.results;
  results.push_back({"plain", false, quality({plain.ids, plain.k}, data.relevance)});
  results.push_back({"auto", false, quality({refined.ids, refined.k}, data.relevance)});
  if (!options.baselines) return methods;
  const Candidates candidates = candidates_of(plain, data.ids);
  const Baselines baselines(data, candidates, options, executor);
  for (std::size_t b = 0; b < kBaselines; ++b) {
    results.push_back({kNames[b], true, quality(baselines.results(b), data.relevance)});
  }
  return methods;
}

}  // namespace halo::bench
