#include "halo/integration/eval/metrics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo {
namespace {

using io::Judgement;
using test::expect_error;

std::vector<Id> row_numbers(std::size_t n) {
  std::vector<Id> ids(n);
  for (std::size_t i = 0; i < n; ++i) ids[i] = static_cast<Id>(i);
  return ids;
}

TEST(QualityTest, HandComputedRow) {
  // Relevant: 0, 1, 2. Found: hit, miss, hit, one empty place, and no third.
  const std::vector<Id> ids = row_numbers(6);
  const std::vector<std::int64_t> labels = {7, 7, 7, 8, 8, 9};
  const std::vector<std::int64_t> query_labels = {7};
  const std::vector<Id> found = {0, 3, 1, -1};
  const QualityTable table = quality({found, 4}, Relevance::from_labels(ids, labels, query_labels));
  EXPECT_DOUBLE_EQ(table.mean(Measure::kP1), 1.0);
  EXPECT_DOUBLE_EQ(table.mean(Measure::kP10), 0.2);
  // (1/log2(2) + 1/log2(4)) / (1/log2(2) + 1/log2(3) + 1/log2(4))
  EXPECT_NEAR(table.mean(Measure::kNdcg10), 1.5 / (1.0 + 1.0 / std::log2(3.0) + 0.5), 1e-12);
  EXPECT_NEAR(table.mean(Measure::kMap100), (1.0 + 2.0 / 3.0) / 3.0, 1e-12);
}

TEST(QualityTest, JudgementsCountGradesAboveZeroOnceEach) {
  const std::vector<Judgement> judgements = {{0, 42, 2}, {0, 42, 1}, {0, 5, 0}, {1, 9, 1}};
  const Relevance relevance = Relevance::from_judgements(judgements, 3);
  EXPECT_EQ(relevance.count(0), 1U);
  EXPECT_EQ(relevance.count(1), 1U);
  EXPECT_EQ(relevance.count(2), 0U);
  EXPECT_TRUE(relevance.relevant(0, 42));
  EXPECT_FALSE(relevance.relevant(0, 5));
  EXPECT_FALSE(relevance.relevant(0, -1));

  const std::vector<Id> found = {5, 42, 9, 1, 3, 4};
  const QualityTable table = quality({found, 2}, relevance);
  EXPECT_EQ(table.queries, (std::vector<std::size_t>{0, 1}));  // query 2 has nothing to find
  EXPECT_DOUBLE_EQ(table.mean(Measure::kP1), 0.5);
  EXPECT_DOUBLE_EQ(table.mean(Measure::kMap100), 0.75);
}

TEST(QualityTest, PrecisionAtTenCountsAbsentPlacesAsMisses) {
  const std::vector<Id> ids = row_numbers(2);
  const std::vector<std::int64_t> labels = {1, 1};
  const std::vector<std::int64_t> query_labels = {1};
  const std::vector<Id> found = {1, 0};
  const QualityTable table = quality({found, 2}, Relevance::from_labels(ids, labels, query_labels));
  EXPECT_DOUBLE_EQ(table.mean(Measure::kP10), 0.2);
  EXPECT_NEAR(table.mean(Measure::kNdcg10), 1.0, 1e-12);
  EXPECT_NEAR(table.mean(Measure::kMap100), 1.0, 1e-12);
}

TEST(QualityTest, MapDividesByAtMostOneHundred) {
  const std::vector<Id> ids = row_numbers(250);
  const std::vector<std::int64_t> labels(250, 4);
  const std::vector<std::int64_t> query_labels = {4};
  const std::vector<Id> found = row_numbers(200);
  const QualityTable table =
      quality({found, 200}, Relevance::from_labels(ids, labels, query_labels));
  EXPECT_NEAR(table.mean(Measure::kMap100), 1.0, 1e-12);
}

/// The definitions as quality.py spells them: hit matrices, cumulative sums, no early exits.
struct PlainQuality {
  double p1, p10, ndcg, map;
};
PlainQuality plain_quality(const std::vector<Id>& row, const std::set<Id>& relevant) {
  std::vector<double> hit;
  for (std::size_t i = 0; i < row.size() && i < 100; ++i) {
    hit.push_back(row[i] >= 0 && relevant.count(row[i]) != 0 ? 1.0 : 0.0);
  }
  PlainQuality q{hit[0], 0, 0, 0};
  double gain_sum = 0;
  double ideal = 0;
  for (std::size_t i = 0; i < 10; ++i) {
    q.p10 += hit[i] / 10;
    gain_sum += hit[i] / std::log2(static_cast<double>(i) + 2);
    if (i < relevant.size()) ideal += 1 / std::log2(static_cast<double>(i) + 2);
  }
  q.ndcg = gain_sum / ideal;
  for (std::size_t i = 0; i < hit.size(); ++i) {
    double hits = 0;
    for (std::size_t j = 0; j <= i; ++j) hits += hit[j];
    q.map += hits / static_cast<double>(i + 1) * hit[i];
  }
  q.map /= static_cast<double>(std::min<std::size_t>(relevant.size(), 100));
  return q;
}

TEST(QualityTest, AgreesWithThePlainDefinitions) {
  Random random(11);
  for (int round = 0; round < 60; ++round) {
    const std::size_t n = 20 + random.below(400);
    const std::size_t classes = 1 + random.below(12);
    const std::size_t k = 10 + random.below(std::min<std::uint64_t>(n - 10, 150));
    std::vector<Id> ids;  // any ids, in any order
    for (std::size_t i = 0; i < n; ++i) ids.push_back(static_cast<Id>(i * 3 + 5));
    std::vector<std::int64_t> labels;
    for (std::size_t i = 0; i < n; ++i) {
      labels.push_back(static_cast<std::int64_t>(random.below(classes)) - 2);
    }
    const std::size_t queries = 5;
    std::vector<std::int64_t> query_labels;
    std::vector<Id> found;
    std::vector<Judgement> judgements;
    std::vector<PlainQuality> expected;
    for (std::size_t q = 0; q < queries; ++q) {
      query_labels.push_back(static_cast<std::int64_t>(random.below(classes + 1)) - 2);
      std::set<Id> relevant;
      for (std::size_t i = 0; i < n; ++i) {
        if (labels[i] == query_labels[q]) relevant.insert(ids[i]);
      }
      for (const Id id : relevant) judgements.push_back({q, id, 1});
      std::vector<Id> row = ids;
      for (std::size_t i = n; i > 1; --i) std::swap(row[i - 1], row[random.below(i)]);
      row.resize(k);
      for (std::size_t i = k - random.below(k / 2); i < k; ++i) row[i] = -1;
      found.insert(found.end(), row.begin(), row.end());
      if (!relevant.empty()) expected.push_back(plain_quality(row, relevant));
    }
    for (const Relevance& relevance : {Relevance::from_labels(ids, labels, query_labels),
                                       Relevance::from_judgements(judgements, queries)}) {
      const QualityTable table = quality({found, k}, relevance);
      ASSERT_EQ(table.queries.size(), expected.size());
      for (std::size_t i = 0; i < expected.size(); ++i) {
        EXPECT_DOUBLE_EQ(table.of(Measure::kP1)[i], expected[i].p1);
        EXPECT_NEAR(table.of(Measure::kP10)[i], expected[i].p10, 1e-12);
        EXPECT_NEAR(table.of(Measure::kNdcg10)[i], expected[i].ndcg, 1e-12);
        EXPECT_NEAR(table.of(Measure::kMap100)[i], expected[i].map, 1e-12);
      }
    }
  }
}

TEST(QualityTest, RefusesRepeatedIdsAndWrongSizes) {
  const std::vector<Id> ids = row_numbers(3);
  const std::vector<std::int64_t> labels = {1, 1, 2};
  const std::vector<std::int64_t> query_labels = {1};
  const Relevance relevance = Relevance::from_labels(ids, labels, query_labels);
  const std::vector<Id> twice = {1, 0, 1};
  expect_error(ErrorCode::kDuplicateId, "query 0 hold id 1 twice", [&] {
    quality({twice, 3}, relevance);
  });
  const std::vector<Id> empty_places = {1, -1, -1};  // several -1 are not a repetition
  EXPECT_EQ(quality({empty_places, 3}, relevance).queries.size(), 1U);
  const std::vector<Id> two_queries = {1, 0};
  expect_error(ErrorCode::kInvalidArgument, "2 queries", [&] {
    quality({two_queries, 1}, relevance);
  });
  expect_error(ErrorCode::kInvalidArgument, "3 labels for 2 ids",
               [&] { Relevance::from_labels(std::span(ids).first(2), labels, query_labels); });
  const std::vector<Id> same = {4, 4, 5};
  expect_error(ErrorCode::kDuplicateId, "id 4",
               [&] { Relevance::from_labels(same, labels, query_labels); });
  const std::vector<Judgement> outside = {{3, 0, 1}};
  expect_error(ErrorCode::kUnknownId, "query 3 of 2",
               [&] { Relevance::from_judgements(outside, 2); });
}

TEST(RecallTest, CountsCommonIdsWhateverTheirOrder) {
  const std::vector<Id> found = {1, 2, 3, 4, 9, 8, 7, -1};
  const std::vector<Id> truth = {4, 3, 2, 0, 9, 8, 5, 6};
  EXPECT_DOUBLE_EQ(recall_of_ids(4, {found, 4}, {truth, 4}), (3.0 / 4 + 2.0 / 4) / 2);
  EXPECT_DOUBLE_EQ(recall_of_ids(2, {found, 4}, {truth, 4}), (0.0 + 2.0 / 2) / 2);
}

TEST(RecallTest, EmptyPlacesOfTheGroundTruthAreNotExpected) {
  const std::vector<Id> found = {1, 2, -1, 5, 6, 7};
  const std::vector<Id> truth = {2, -1, -1, -1, -1, -1};
  EXPECT_DOUBLE_EQ(recall_of_ids(3, {found, 3}, {truth, 3}), 1.0);
}

TEST(RecallTest, RefusesWrongSizes) {
  const std::vector<Id> two = {1, 2};
  const std::vector<Id> four = {1, 2, 3, 4};
  expect_error(ErrorCode::kInvalidArgument, "recall@3", [&] {
    recall_of_ids(3, {two, 2}, {two, 2});
  });
  expect_error(ErrorCode::kInvalidArgument, "recall@0", [&] {
    recall_of_ids(0, {two, 2}, {two, 2});
  });
  expect_error(ErrorCode::kInvalidArgument, "2 queries instead of 1", [&] {
    recall_of_ids(1, {two, 2}, {four, 2});
  });
}

TEST(PairedBootstrapTest, HoldsTheMeanAndNarrowsWithMoreQueries) {
  Random random(3);
  double width_of_few = 0;
  for (const std::size_t n : {50U, 5000U}) {
    std::vector<double> before(n);
    std::vector<double> after(n);
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) {
      before[i] = random.uniform();
      after[i] = before[i] + 0.1 + 0.3 * random.normal();
      sum += after[i] - before[i];
    }
    const Interval interval = paired_bootstrap(before, after, 1);
    EXPECT_NEAR(interval.mean, sum / static_cast<double>(n), 1e-12);
    EXPECT_LT(interval.low, interval.mean);
    EXPECT_GT(interval.high, interval.mean);
    // Normal approximation: mean +- 1.96 s / sqrt(n).
    const double half = 1.96 * 0.3 / std::sqrt(static_cast<double>(n));
    EXPECT_NEAR(interval.high - interval.low, 2 * half, 0.6 * half);
    if (n == 50) {
      width_of_few = interval.high - interval.low;
    } else {
      EXPECT_LT(interval.high - interval.low, width_of_few / 5);
    }
    const Interval again = paired_bootstrap(before, after, 1);
    EXPECT_EQ(interval.low, again.low);
    EXPECT_EQ(interval.high, again.high);
  }
}

TEST(PairedBootstrapTest, ConstantDifferenceHasNoWidth) {
  const std::vector<double> before = {0.5, 0.25, 0};
  const std::vector<double> after = {0.75, 0.5, 0.25};
  const Interval interval = paired_bootstrap(before, after, 9);
  EXPECT_DOUBLE_EQ(interval.low, 0.25);
  EXPECT_DOUBLE_EQ(interval.mean, 0.25);
  EXPECT_DOUBLE_EQ(interval.high, 0.25);
  EXPECT_EQ(paired_bootstrap({}, {}, 9).high, 0);
  expect_error(ErrorCode::kInvalidArgument, "one length",
               [&] { paired_bootstrap(before, std::span(after).first(2), 9); });
  expect_error(ErrorCode::kInvalidArgument, "resample",
               [&] { paired_bootstrap(before, after, 9, 0); });
}

TEST(PercentileTest, InterpolatesLikeNumpy) {
  const std::vector<double> values = {4, 1, 3, 2};  // numpy.percentile([4, 1, 3, 2], 50) = 2.5
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 2.5);
  EXPECT_DOUBLE_EQ(percentile(values, 0.95), 3.85);
  EXPECT_DOUBLE_EQ(percentile(values, 0), 1);
  EXPECT_DOUBLE_EQ(percentile(values, 1), 4);
  EXPECT_DOUBLE_EQ(percentile({}, 0.5), 0);
}

TEST(LatencyTest, SummarisesOneToOneHundred) {
  std::vector<double> seconds;
  for (int i = 100; i >= 1; --i) seconds.push_back(i);
  const LatencySummary summary = summarise_latency(seconds);
  EXPECT_DOUBLE_EQ(summary.p50, 50.5);
  EXPECT_DOUBLE_EQ(summary.p95, 95.05);
  EXPECT_DOUBLE_EQ(summary.p99, 99.01);
  EXPECT_DOUBLE_EQ(summary.mean, 50.5);
  EXPECT_EQ(summarise_latency({}).p99, 0);
}

}  // namespace
}  // namespace halo
