// How good results are: precision, nDCG, mAP and recall of result ids, with intervals and latency
// percentiles.
//
// Results are rows of ids, best first, -1 where fewer than k were found, as in `halo search
// --out-ids`. Thread-safety: free functions and read-only values.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "halo/index/graph_snapshot.h"
#include "halo/integration/io/vectors.h"

namespace halo {

/// A borrowed queries x k table of result ids.
struct ResultIds {
  std::span<const Id> ids;
  std::size_t k = 0;

  std::size_t queries() const { return k == 0 ? 0 : ids.size() / k; }
  std::span<const Id> row(std::size_t query) const { return ids.subspan(query * k, k); }
};

/// What is relevant to each query.
class Relevance {
 public:
  /// Relevant = same label. `labels[i]` belongs to `ids[i]`; throws kInvalidArgument for another
  /// number of them, kDuplicateId for an id given twice.
  static Relevance from_labels(std::span<const Id> ids, std::span<const std::int64_t> labels,
                               std::span<const std::int64_t> query_labels);
  /// Relevant = judged with a grade above 0. Throws kUnknownId for a query number that is not below
  /// `queries`.
  static Relevance from_judgements(std::span<const io::Judgement> judgements, std::size_t queries);

  std::size_t queries() const { return counts_.size(); }
  /// How many relevant ids there are for `query`.
  std::size_t count(std::size_t query) const { return counts_[query]; }
  /// Negative and unknown ids are never relevant.
  bool relevant(std::size_t query, Id id) const;

 private:
  std::vector<std::size_t> counts_;
  std::vector<std::int64_t> query_labels_;         // labels: one a query
  std::unordered_map<Id, std::int64_t> label_of_;  // labels
  std::vector<std::vector<Id>> relevant_ids_;      // judgements: ascending, one list a query
};

/// The measures, in the order of QualityTable::values.
enum class Measure : std::size_t { kP1, kP10, kNdcg10, kMap100 };
inline constexpr std::array<Measure, 4> kMeasures = {Measure::kP1, Measure::kP10, Measure::kNdcg10,
                                                     Measure::kMap100};
/// "P@1", "P@10", "nDCG@10", "mAP@100".
std::string_view measure_name(Measure measure) noexcept;

/// One value a query and measure; queries without a relevant id are left out.
struct QualityTable {
  std::vector<std::size_t> queries;  ///< the queries that were judged
  std::array<std::vector<double>, kMeasures.size()> values;

  std::span<const double> of(Measure measure) const {
    return values[static_cast<std::size_t>(measure)];
  }
  double mean(Measure measure) const;
};

/// P@1, P@10 (of 10 places, found or not), nDCG@10 with binary gains, and average precision over
/// the first 100 places divided by min(relevant, 100). Throws kInvalidArgument where `results` has
/// another number of queries than `relevance`, kDuplicateId where a row repeats an id. O(queries
/// k).
QualityTable quality(const ResultIds& results, const Relevance& relevance);

/// Mean over queries of |first k of both| / min(k, ids in the ground truth's first k). Queries
/// whose ground truth is empty are left out. Throws kInvalidArgument where the numbers of queries
/// differ or k is 0 or above either table's k.
double recall_of_ids(std::size_t k, const ResultIds& results, const ResultIds& ground_truth);

struct Interval {
  double mean = 0;
  double low = 0;   ///< 2.5th percentile
  double high = 0;  ///< 97.5th percentile
};

/// The paired-bootstrap 95% interval of mean(after - before): queries are drawn with replacement
/// `resamples` times. The same seed gives the same interval. Throws kInvalidArgument for different
/// lengths or 0 resamples; empty input gives zeros. O(resamples n). Source: Efron and Tibshirani,
/// "An Introduction to the Bootstrap", 1993, chapter 13.
Interval paired_bootstrap(std::span<const double> before, std::span<const double> after,
                          std::uint64_t seed, std::size_t resamples = 2000);

/// The value below which `fraction` of the values lie, interpolated linearly between neighbours as
/// numpy does; 0 for no values. O(n log n).
double percentile(std::span<const double> values, double fraction);

struct LatencySummary {
  double p50 = 0, p95 = 0, p99 = 0, mean = 0;
};
LatencySummary summarise_latency(std::span<const double> seconds);

}  // namespace halo
