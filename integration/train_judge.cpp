#include "halo/integration/train_judge.h"

#include <algorithm>
#include <numeric>

#include "halo/core/kernels/gemm.h"
#include "halo/index/snapshot_search.h"

namespace halo {
namespace {

constexpr std::size_t kDepth = 100;  // mAP@100
constexpr std::size_t kQueriesAtOnce = 64;
constexpr std::size_t kSearchesAtOnce = 8;
constexpr std::size_t kEf = 64;

}  // namespace

TrainJudge::TrainJudge(const Engine& engine, const TrainingSplit& split, std::size_t candidates,
                       const Executor& executor, const Job& job)
    : engine_(engine),
      split_(split),
      candidates_(std::min(candidates, split.pool_ids.size())),
      executor_(executor),
      job_{nullptr, job.stop},
      found_(split.validation_queries.rows()) {
  const GraphSnapshot& snapshot = *engine.snapshot();
  SearchOptions options;
  options.k = std::min(candidates_ + 1, split.pool_ids.size());
  options.ef = std::max(kEf, options.k);
  options.filter = split.filter;
  std::vector<SearchScratch> scratch(executor.threads());
  executor.parallel_for_workers(
      found_.size(), kSearchesAtOnce, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job_.check();
        std::vector<Neighbour> neighbours(options.k);
        for (std::size_t q = begin; q < end; ++q) {
          Candidates& found = found_[q];
          found.self = gnn::kNoNode;
          if (split.self_ids[q] >= 0) found.self = snapshot.find(split.self_ids[q]).value();
          const std::size_t count = search(snapshot, split.validation_queries.row_span(q), options,
                                           scratch[worker], neighbours);
          for (std::size_t i = 0; i < count && found.nodes.size() < candidates_; ++i) {
            if (neighbours[i].node == found.self) continue;
            found.nodes.push_back(neighbours[i].node);
            found.distances.push_back(neighbours[i].distance);
          }
        }
      });
}

QualityTable TrainJudge::plain() const {
  std::vector<Id> ids(found_.size() * kDepth, Id{-1});
  for (std::size_t q = 0; q < found_.size(); ++q) {
    for (std::size_t i = 0; i < std::min(kDepth, found_[q].nodes.size()); ++i) {
      ids[q * kDepth + i] = engine_.snapshot()->id(found_[q].nodes[i]);
    }
  }
  return quality({ids, kDepth}, split_.relevance);
}

QualityTable TrainJudge::automatic() const {
  QueryOptions options;
  options.k = std::min({kDepth + 1, split_.pool_ids.size(), candidates_});
  options.refine = RefineMode::kAuto;
  options.candidates = candidates_;
  options.filter = split_.filter;
  const BatchResults results = engine_.search(split_.validation_queries, options, executor_, job_);
  std::vector<Id> ids(found_.size() * kDepth, Id{-1});
  for (std::size_t q = 0; q < found_.size(); ++q) {
    std::size_t written = 0;
    for (std::size_t i = 0; i < results.k && written < kDepth; ++i) {
      const Id id = results.ids[q * results.k + i];
      if (id != split_.self_ids[q]) ids[q * kDepth + written++] = id;
    }
  }
  return quality({ids, kDepth}, split_.relevance);
}

// Calls take(query, scratch) with what refine() left in the scratch.
template <class Take>
void TrainJudge::refine_each(const gnn::TrainedModel& model, const Take& take) const {
  std::vector<gnn::TrainedModel::Scratch> scratch(executor_.threads());
  executor_.parallel_for_workers(
      found_.size(), kSearchesAtOnce, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job_.check();
        auto& own = scratch[worker];
        for (std::size_t q = begin; q < end; ++q) {
          const Candidates& found = found_[q];
          std::function<bool(std::uint32_t)> allows;
          if (!split_.filter.empty()) {
            allows = [&](std::uint32_t node) { return split_.filter.allows(node); };
          }
          model.refine(split_.validation_queries.row_span(q), found.nodes, found.distances,
                       candidates_, allows, own, found.self);
          take(q, own);
        }
      });
}

QualityTable TrainJudge::trained(const gnn::TrainedModel& model) const {
  std::vector<Id> ids(found_.size() * kDepth, Id{-1});
  refine_each(model, [&](std::size_t q, const gnn::TrainedModel::Scratch& own) {
    for (std::size_t i = 0; i < std::min(kDepth, own.nodes.size()); ++i) {
      ids[q * kDepth + i] = engine_.snapshot()->id(own.nodes[i]);
    }
  });
  return quality({ids, kDepth}, split_.relevance);
}

std::vector<double> TrainJudge::class_probabilities(const gnn::TrainedModel& model,
                                                    std::span<const std::uint32_t> labels) const {
  std::vector<double> probabilities(found_.size(), 0.0);
  refine_each(model, [&](std::size_t q, const gnn::TrainedModel::Scratch& own) {
    if (own.nodes.empty()) return;
    probabilities[q] = static_cast<double>(own.probability_of(labels[found_[q].self]));
  });
  return probabilities;
}

QualityTable TrainJudge::in_space(const MatrixView& queries, const MatrixView& pool) const {
  std::vector<Id> ids(queries.rows * kDepth, Id{-1});
  for (std::size_t begin = 0; begin < queries.rows; begin += kQueriesAtOnce) {
    job_.check();
    const std::size_t rows = std::min(kQueriesAtOnce, queries.rows - begin);
    Matrix cosines(rows, pool.rows);
    kernels::gemm_nt(queries.sub_rows(begin, rows), pool, cosines, executor_);
    executor_.parallel_for(rows, 4, [&](std::size_t first, std::size_t last) {
      for (std::size_t i = first; i < last; ++i) {
        rank(begin + i, cosines.row_span(i), std::span(ids).subspan((begin + i) * kDepth, kDepth));
      }
    });
  }
  return quality({ids, kDepth}, split_.relevance);
}

void TrainJudge::rank(std::size_t query, std::span<const float> cosines, std::span<Id> out) const {
  std::vector<std::uint32_t> order(cosines.size());
  std::iota(order.begin(), order.end(), 0U);
  const std::size_t kept = std::min(kDepth + 1, order.size());
  std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept), order.end(),
                    [&](std::uint32_t a, std::uint32_t b) {
                      return cosines[a] != cosines[b] ? cosines[a] > cosines[b] : a < b;
                    });
  std::size_t written = 0;
  for (std::size_t i = 0; i < kept && written < out.size(); ++i) {
    const Id id = split_.pool_ids[order[i]];
    if (id != split_.self_ids[query]) out[written++] = id;
  }
}

}  // namespace halo
