#include "halo/integration/eval/metrics.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

#include "halo/core/error.h"
#include "halo/core/random.h"

namespace halo {
namespace {

constexpr std::size_t kPrecisionDepth = 10;
constexpr std::size_t kMapDepth = 100;

double mean_of(std::span<const double> values) {
  if (values.empty()) return 0;
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

/// `sorted` ascending and not empty.
double percentile_of_sorted(std::span<const double> sorted, double fraction) {
  const double place = fraction * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(place));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// The ids of a row, ascending, without the places that stayed empty.
std::vector<Id> sorted_ids(std::span<const Id> row) {
  std::vector<Id> ids;
  ids.reserve(row.size());
  std::copy_if(row.begin(), row.end(), std::back_inserter(ids), [](Id id) { return id >= 0; });
  std::sort(ids.begin(), ids.end());
  return ids;
}

void require_unique(std::span<const Id> row, std::size_t query) {
  const std::vector<Id> ids = sorted_ids(row);
  const auto twice = std::adjacent_find(ids.begin(), ids.end());
  if (twice != ids.end()) {
    throw Error(ErrorCode::kDuplicateId, "the results of query " + std::to_string(query) +
                                             " hold id " + std::to_string(*twice) + " twice");
  }
}

double gain_at(std::size_t place) { return 1.0 / std::log2(static_cast<double>(place) + 2.0); }

struct QueryQuality {
  double p1 = 0, p10 = 0, ndcg10 = 0, map100 = 0;
};

QueryQuality quality_of(std::span<const Id> row, const Relevance& relevance, std::size_t query) {
  QueryQuality result;
  double gained = 0;
  double precision_sum = 0;
  std::size_t hits = 0;
  for (std::size_t place = 0; place < std::min(row.size(), kMapDepth); ++place) {
    if (!relevance.relevant(query, row[place])) continue;
    ++hits;
    precision_sum += static_cast<double>(hits) / static_cast<double>(place + 1);
    if (place == 0) result.p1 = 1;
    if (place < kPrecisionDepth) {
      result.p10 += 1.0 / static_cast<double>(kPrecisionDepth);
      gained += gain_at(place);
    }
  }
  const std::size_t relevant = relevance.count(query);
  double ideal = 0;
  for (std::size_t place = 0; place < std::min(relevant, kPrecisionDepth); ++place) {
    ideal += gain_at(place);
  }
  result.ndcg10 = gained / ideal;
  result.map100 = precision_sum / static_cast<double>(std::min(relevant, kMapDepth));
  return result;
}

}  // namespace

Relevance Relevance::from_labels(std::span<const Id> ids, std::span<const std::int64_t> labels,
                                 std::span<const std::int64_t> query_labels) {
  if (ids.size() != labels.size()) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(labels.size()) + " labels for " +
                                                 std::to_string(ids.size()) + " ids");
  }
  Relevance relevance;
  std::unordered_map<std::int64_t, std::size_t> members;
  relevance.label_of_.reserve(ids.size());
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (!relevance.label_of_.emplace(ids[i], labels[i]).second) {
      throw Error(ErrorCode::kDuplicateId, "id " + std::to_string(ids[i]) + " is labelled twice");
    }
    ++members[labels[i]];
  }
  relevance.query_labels_.assign(query_labels.begin(), query_labels.end());
  relevance.counts_.reserve(query_labels.size());
  for (const std::int64_t label : query_labels) {
    const auto found = members.find(label);
    relevance.counts_.push_back(found == members.end() ? 0 : found->second);
  }
  return relevance;
}

Relevance Relevance::from_judgements(std::span<const io::Judgement> judgements,
                                     std::size_t queries) {
  Relevance relevance;
  relevance.relevant_ids_.resize(queries);
  for (const io::Judgement& judgement : judgements) {
    if (judgement.query >= queries) {
      throw Error(ErrorCode::kUnknownId, "the judgements name query " +
                                             std::to_string(judgement.query) + " of " +
                                             std::to_string(queries));
    }
    if (judgement.grade > 0) relevance.relevant_ids_[judgement.query].push_back(judgement.id);
  }
  relevance.counts_.reserve(queries);
  for (std::vector<Id>& ids : relevance.relevant_ids_) {
    std::sort(ids.begin(), ids.end());
    ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
    relevance.counts_.push_back(ids.size());
  }
  return relevance;
}

bool Relevance::relevant(std::size_t query, Id id) const {
  if (id < 0) return false;
  if (!relevant_ids_.empty()) {
    return std::binary_search(relevant_ids_[query].begin(), relevant_ids_[query].end(), id);
  }
  const auto found = label_of_.find(id);
  return found != label_of_.end() && found->second == query_labels_[query];
}

std::string_view measure_name(Measure measure) noexcept {
  switch (measure) {
    case Measure::kP1:
      return "P@1";
    case Measure::kP10:
      return "P@10";
    case Measure::kNdcg10:
      return "nDCG@10";
    case Measure::kMap100:
      return "mAP@100";
  }
  return "unknown";
}

double QualityTable::mean(Measure measure) const { return mean_of(of(measure)); }

QualityTable quality(const ResultIds& results, const Relevance& relevance) {
  if (results.queries() != relevance.queries()) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(results.queries()) +
                                                 " queries, but relevance is known for " +
                                                 std::to_string(relevance.queries()));
  }
  QualityTable table;
  for (std::size_t query = 0; query < results.queries(); ++query) {
    require_unique(results.row(query), query);
    if (relevance.count(query) == 0) continue;
    const QueryQuality q = quality_of(results.row(query), relevance, query);
    table.queries.push_back(query);
    for (const auto& [measure, value] :
         {std::pair{Measure::kP1, q.p1}, std::pair{Measure::kP10, q.p10},
          std::pair{Measure::kNdcg10, q.ndcg10}, std::pair{Measure::kMap100, q.map100}}) {
      table.values[static_cast<std::size_t>(measure)].push_back(value);
    }
  }
  return table;
}

double recall_of_ids(std::size_t k, const ResultIds& results, const ResultIds& ground_truth) {
  if (results.queries() != ground_truth.queries()) {
    throw Error(ErrorCode::kInvalidArgument,
                "the ground truth has " + std::to_string(ground_truth.queries()) +
                    " queries instead of " + std::to_string(results.queries()));
  }
  if (k == 0 || k > results.k || k > ground_truth.k) {
    throw Error(ErrorCode::kInvalidArgument,
                "recall@" + std::to_string(k) + " needs at least that many results (" +
                    std::to_string(results.k) + ") and true neighbours (" +
                    std::to_string(ground_truth.k) + ") a query, and at least 1");
  }
  double sum = 0;
  std::size_t judged = 0;
  std::vector<Id> common;
  for (std::size_t query = 0; query < results.queries(); ++query) {
    require_unique(results.row(query), query);
    const std::vector<Id> expected = sorted_ids(ground_truth.row(query).first(k));
    if (expected.empty()) continue;
    const std::vector<Id> found = sorted_ids(results.row(query).first(k));
    common.clear();
    std::set_intersection(found.begin(), found.end(), expected.begin(), expected.end(),
                          std::back_inserter(common));
    sum += static_cast<double>(common.size()) / static_cast<double>(expected.size());
    ++judged;
  }
  return judged == 0 ? 0 : sum / static_cast<double>(judged);
}

Interval paired_bootstrap(std::span<const double> before, std::span<const double> after,
                          std::uint64_t seed, std::size_t resamples) {
  if (before.size() != after.size() || resamples == 0) {
    throw Error(ErrorCode::kInvalidArgument, "a paired bootstrap needs two lists of one length (" +
                                                 std::to_string(before.size()) + ", " +
                                                 std::to_string(after.size()) +
                                                 ") and at least one resample");
  }
  if (before.empty()) return {};
  std::vector<double> difference(before.size());
  for (std::size_t i = 0; i < before.size(); ++i) difference[i] = after[i] - before[i];
  std::vector<double> means(resamples);
  Random random(seed);
  for (double& mean : means) {
    double sum = 0;
    for (std::size_t i = 0; i < difference.size(); ++i) {
      sum += difference[random.below(difference.size())];
    }
    mean = sum / static_cast<double>(difference.size());
  }
  std::sort(means.begin(), means.end());
  return {mean_of(difference), percentile_of_sorted(means, 0.025),
          percentile_of_sorted(means, 0.975)};
}

double percentile(std::span<const double> values, double fraction) {
  if (values.empty()) return 0;
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  return percentile_of_sorted(sorted, fraction);
}

LatencySummary summarise_latency(std::span<const double> seconds) {
  if (seconds.empty()) return {};
  std::vector<double> sorted(seconds.begin(), seconds.end());
  std::sort(sorted.begin(), sorted.end());
  return {percentile_of_sorted(sorted, 0.50), percentile_of_sorted(sorted, 0.95),
          percentile_of_sorted(sorted, 0.99), mean_of(sorted)};
}

}  // namespace halo
