#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "halo/core/executor.h"
#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"
#include "halo/integration/io/npy_writer.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class EvalCommandTest : public CliTest {
 protected:
  std::vector<std::string> eval_arguments(const std::string& index,
                                          const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"eval",      "--index",           index,
                                          "--queries", path("queries.npy"), "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }
  std::vector<std::string> by_labels(const std::string& index,
                                     std::vector<std::string> more = {}) const {
    more.insert(more.end(),
                {"--labels", path("labels.npy"), "--query-labels", path("query_labels.npy")});
    return eval_arguments(index, more);
  }
  nlohmann::json facts(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const Outcome outcome = halo(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.json();
  }
};

TEST_F(EvalCommandTest, FiguresAreTheMetricsOfTheLibrarysResults) {
  const std::string index = refined_index();
  const auto result = facts(by_labels(index));
  EXPECT_EQ(result["judged_queries"], kQueries);
  ASSERT_EQ(result["modes"].size(), 2U);
  const Engine engine = Engine::load(index);
  std::vector<Id> ids(kRows);
  for (std::size_t i = 0; i < kRows; ++i) ids[i] = static_cast<Id>(i);
  const Relevance relevance = Relevance::from_labels(ids, labels_, query_labels_);
  QueryOptions options;
  options.k = 100;
  std::vector<QualityTable> tables;
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    options.refine = mode;
    const BatchResults results = engine.search(queries_, options, Executor(1));
    tables.push_back(quality({results.ids, results.k}, relevance));
  }
  for (const Measure measure : kMeasures) {
    const std::string name(measure_name(measure));
    for (std::size_t mode = 0; mode < 2; ++mode) {
      EXPECT_DOUBLE_EQ(result["modes"][mode][name], tables[mode].mean(measure)) << name;
    }
    const Interval interval = paired_bootstrap(tables[0].of(measure), tables[1].of(measure), 1);
    EXPECT_DOUBLE_EQ(result["auto_minus_off"][name]["mean"], interval.mean);
    EXPECT_DOUBLE_EQ(result["auto_minus_off"][name]["low"], interval.low);
    EXPECT_DOUBLE_EQ(result["auto_minus_off"][name]["high"], interval.high);
  }
}

TEST_F(EvalCommandTest, PrintsOneTable) {
  const Outcome outcome = halo(by_labels(refined_index(), {"--exact"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* text : {"P@1", "P@10", "nDCG@10", "mAP@100", "recall@10", "queries/s", "p50",
                           "p99", "\noff ", "\nauto ", "auto - off", "95% from", "harm gate"}) {
    EXPECT_THAT(outcome.out, HasSubstr(text));
  }
  const Outcome plain = halo(by_labels(build_index()));
  EXPECT_THAT(plain.out, HasSubstr("not prepared"));
  EXPECT_THAT(plain.out, testing::Not(HasSubstr("\nauto ")));
}

TEST_F(EvalCommandTest, GroundTruthAndExhaustiveSearchAgree) {
  const std::string index = build_index("l2");
  const auto exact = facts(eval_arguments(index, {"--exact", "-k", "5", "--ef", "300"}));
  EXPECT_GE(exact["modes"][0]["recall@5"], 0.99) << "ef covers the whole set";

  std::vector<std::int64_t> truth;
  for (std::size_t q = 0; q < kQueries; ++q) {
    std::vector<std::pair<double, std::int64_t>> distances;
    for (std::size_t i = 0; i < kRows; ++i) {
      double sum = 0;
      for (std::size_t j = 0; j < kDim; ++j) {
        const double difference = double{vectors_.row(i)[j]} - double{queries_.row(q)[j]};
        sum += difference * difference;
      }
      distances.emplace_back(sum, static_cast<std::int64_t>(i));
    }
    std::sort(distances.begin(), distances.end());
    for (std::size_t i = 0; i < 5; ++i) truth.push_back(distances[i].second);
  }
  io::write_npy(path("truth.npy"), kQueries, 5, truth);
  const auto given =
      facts(eval_arguments(index, {"--ground-truth", path("truth.npy"), "-k", "5", "--ef", "300"}));
  EXPECT_EQ(given["modes"][0]["recall@5"], exact["modes"][0]["recall@5"]);
  expect_refused(halo(eval_arguments(index, {"--ground-truth", path("truth.npy"), "-k", "6"})),
                 "invalid_argument", "recall@6");
}

TEST_F(EvalCommandTest, JudgementsOfTheSameRelevanceGiveTheSameFigures) {
  const std::string index = build_index();
  std::string lines;
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t i = 0; i < kRows; ++i) {
      if (labels_[i] == query_labels_[q]) {
        lines += std::to_string(q) + " 0 " + std::to_string(i) + " 1\n";
      }
    }
  }
  write_text(path("qrels.txt"), lines);
  const auto judged = facts(eval_arguments(index, {"--qrels", path("qrels.txt")}));
  const auto labelled = facts(by_labels(index));
  for (const Measure measure : kMeasures) {
    const std::string name(measure_name(measure));
    EXPECT_EQ(judged["modes"][0][name], labelled["modes"][0][name]) << name;
  }
  const auto first = facts(eval_arguments(index, {"--qrels", path("qrels.txt"), "--limit", "7"}));
  EXPECT_EQ(first["queries"], 7);
  EXPECT_EQ(first["judged_queries"], 7);
}

TEST_F(EvalCommandTest, LabelsFollowTheirIds) {
  std::vector<std::int64_t> ids(kRows);
  for (std::size_t i = 0; i < kRows; ++i) ids[i] = static_cast<std::int64_t>(5 * i + 2);
  const std::string id_file = integers_file("ids.npy", ids);
  ASSERT_EQ(halo({"build", "--vectors", path("vectors.npy"), "--ids", id_file, "--metric", "cosine",
                  "--out", path("named"), "--quiet"})
                .code,
            0);
  const auto named = facts(by_labels(path("named"), {"--label-ids", id_file}));
  const auto numbered = facts(by_labels(build_index()));
  EXPECT_NEAR(named["modes"][0]["P@10"].get<double>(), numbered["modes"][0]["P@10"].get<double>(),
              0.02);
  expect_refused(halo(by_labels(path("named"))), "unknown_id", "--label-ids");
}

TEST_F(EvalCommandTest, RefusesReferencesThatDoNotFit) {
  const std::string index = build_index();
  const std::string bytes = read_text(index);
  std::vector<std::int64_t> fewer = labels_;
  fewer.pop_back();
  expect_refused(halo(eval_arguments(index, {"--labels", integers_file("fewer.npy", fewer),
                                             "--query-labels", path("query_labels.npy")})),
                 "invalid_argument", "299 rows for 300 vectors");
  expect_refused(halo(eval_arguments(index, {"--labels", path("labels.npy"), "--query-labels",
                                             path("labels.npy")})),
                 "invalid_argument", "300 rows for 60 queries");
  expect_refused(halo(eval_arguments(index, {"--ground-truth", path("labels.npy")})),
                 "invalid_argument", "300 rows for 60 queries");
  write_text(path("qrels.txt"), "0 0 1 1\n60 0 1 1\n");
  expect_refused(halo(eval_arguments(index, {"--qrels", path("qrels.txt")})), "corrupt",
                 "qrels.txt");
  expect_refused(halo(eval_arguments(index, {"--exact", "-k", "0"})), "invalid_argument", "k");
  expect_refused(halo(eval_arguments(index, {"--exact", "-k", "301"})), "invalid_argument", "301");
  expect_refused(
      halo({"eval", "--index", index, "--queries",
            vectors_file("narrow.npy", queries_.view().sub_cols(0, 2)), "--exact", "--quiet"}),
      "dimension_mismatch", "2");
  EXPECT_TRUE(bytes == read_text(index));
}

}  // namespace
}  // namespace halo::cli
