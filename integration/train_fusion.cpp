#include "halo/integration/train_fusion.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "halo/gnn/harm_gate.h"
#include "halo/gnn/train/fit_fusion.h"
#include "halo/index/snapshot_search.h"

namespace halo {
namespace {

constexpr std::size_t kDepth = 100;  // mAP@100
constexpr std::size_t kEf = 64;
constexpr std::size_t kQueriesAtOnce = 4;

// What one thread needs.
struct Worker {
  SearchScratch search;
  gnn::QueryScratch refine;
  std::vector<Neighbour> found;
  std::vector<std::uint32_t> nodes;
  std::vector<float> distances;
};

}  // namespace

FusionTrainer::FusionTrainer(const Engine& engine, const TrainingData& data,
                             std::span<const std::uint32_t> queries, std::size_t candidates,
                             const Executor& executor, const Job& job)
    : engine_(engine),
      executor_(executor),
      queries_(queries.begin(), queries.end()),
      lists_(queries.size()) {
  const GraphSnapshot& snapshot = *engine.snapshot();
  const gnn::RefinementModel& model = *engine.model();
  std::vector<std::vector<std::uint32_t>> relevant(data.queries.rows);
  for (const io::Judgement& judgement : data.judgements) {
    if (judgement.grade > 0) {
      relevant[judgement.query].push_back(snapshot.find(judgement.id).value());
    }
  }
  SearchOptions options;
  options.k = std::min(candidates, snapshot.size());
  options.ef = std::max(kEf, options.k);
  std::vector<double> coherence(queries_.size(), 0.0);
  std::vector<Worker> workers(executor.threads());
  executor.parallel_for_workers(
      queries_.size(), kQueriesAtOnce, [&](std::size_t w, std::size_t begin, std::size_t end) {
        job.check();
        Worker& own = workers[w];
        own.found.resize(options.k);
        for (std::size_t q = begin; q < end; ++q) {
          const auto query = data.queries.row_span(queries_[q]);
          const std::size_t count = search(snapshot, query, options, own.search, own.found);
          own.nodes.clear();
          own.distances.clear();
          for (const Neighbour& neighbour : std::span(own.found).first(count)) {
            own.nodes.push_back(neighbour.node);
            own.distances.push_back(neighbour.distance);
          }
          List& list = lists_[q];
          gnn::query_terms(model, query, own.nodes, own.distances, {}, own.refine, list.terms);
          const auto& known = relevant[queries_[q]];
          for (const std::uint32_t node : list.terms.nodes) {
            list.relevant.push_back(std::find(known.begin(), known.end(), node) != known.end());
          }
          own.nodes.resize(std::min(model.parts().options.window, own.nodes.size()));
          coherence[q] =
              gnn::window_coherence(own.nodes, model.parts().edges, gnn::kCoherenceEdges);
        }
      });
  const double mean = std::accumulate(coherence.begin(), coherence.end(), 0.0) /
                      static_cast<double>(std::max<std::size_t>(1, coherence.size()));
  const double base = model.parts().base_coherence;
  const double hubness = gnn::hubness(model.parts().edges, model.size());
  start_ =
      gnn::label_free_weights(model, gnn::bounded_gate(gnn::harm_gate(mean, base), hubness, base));
}

const FusionTrainer::List& FusionTrainer::list_of(std::uint32_t query) const {
  const auto place = std::lower_bound(queries_.begin(), queries_.end(), query) - queries_.begin();
  return lists_[static_cast<std::size_t>(place)];
}

std::vector<float> FusionTrainer::fit(std::span<const std::uint32_t> without, double pull) const {
  std::vector<gnn::JudgedList> judged;
  for (std::size_t q = 0; q < queries_.size(); ++q) {
    if (std::binary_search(without.begin(), without.end(), queries_[q])) continue;
    judged.push_back({lists_[q].terms.values, lists_[q].relevant});
  }
  return gnn::fit_fusion(judged, start_, {.pull = pull}, executor_);
}

gnn::Fusion FusionTrainer::fusion(std::vector<float> weights) const {
  gnn::Fusion fusion;
  for (const gnn::RefinementHead& head : engine_.model()->parts().heads) {
    fusion.heads.push_back(head.name);
  }
  fusion.weights = std::move(weights);
  return fusion;
}

QualityTable FusionTrainer::judge(std::span<const float> weights,
                                  std::span<const std::uint32_t> queries,
                                  const Relevance& relevance) const {
  std::vector<Id> ids(queries.size() * kDepth, Id{-1});
  std::vector<float> scores;
  std::vector<std::uint32_t> order;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const gnn::QueryTerms& terms = list_of(queries[q]).terms;
    scores.assign(terms.nodes.size(), 0.0F);
    for (std::size_t t = 0; t < weights.size(); ++t) {
      const float* values = terms.values.row(t);
      for (std::size_t i = 0; i < scores.size(); ++i) scores[i] += weights[t] * values[i];
    }
    order.resize(scores.size());
    std::iota(order.begin(), order.end(), 0U);
    std::stable_sort(order.begin(), order.end(),
                     [&](std::uint32_t a, std::uint32_t b) { return scores[a] > scores[b]; });
    for (std::size_t i = 0; i < std::min(kDepth, order.size()); ++i) {
      ids[q * kDepth + i] = engine_.snapshot()->id(terms.nodes[order[i]]);
    }
  }
  return quality({ids, kDepth}, relevance);
}

}  // namespace halo
