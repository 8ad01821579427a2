#include "halo/integration/train.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>

#include "halo/core/random.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/train_data.h"
#include "integration/train_fixture.h"
#include "support/test_support.h"

namespace halo {
namespace {

using test::build;
using test::by_node;
using test::Data;
using test::fast;
using test::kDim;
using test::kQueries;
using test::kRows;
using test::make_data;
using test::map_of;
using test::TrainTest;

TEST_F(TrainTest, LabelsHelpQueriesThatWereNotSeen) {
  const TrainReport report = train(engine_, by_node(engine_, base_.labels), fast(), Executor(2));
  ASSERT_TRUE(report.accepted) << report.reason;
  EXPECT_EQ(report.classes, 6U);
  EXPECT_EQ(report.examples, kRows);
  EXPECT_EQ(report.table.front().name, "off");
  EXPECT_EQ(report.table.back().name, "trained");
  EXPECT_GT(report.table.back().gain->low, 0.0);
  const Engine trained = engine_.with_trained(report.model);
  EXPECT_GT(map_of(trained, base_, queries_, RefineMode::kTrained),
            map_of(engine_, base_, queries_, RefineMode::kOff) + 0.1);
}

TEST_F(TrainTest, AFewLabelsHelpToo) {
  std::vector<std::int64_t> labels = base_.labels;
  for (std::size_t i = 0; i < kRows; ++i) {
    if (i % 5 != 0) labels[i] = -1;
  }
  const TrainReport report = train(engine_, by_node(engine_, labels), fast(), Executor(2));
  ASSERT_TRUE(report.accepted) << report.reason;
  EXPECT_EQ(report.examples, kRows / 5);
  EXPECT_GT(map_of(engine_.with_trained(report.model), base_, queries_, RefineMode::kTrained),
            map_of(engine_, base_, queries_, RefineMode::kOff));
}

TEST_F(TrainTest, JudgementsThatMeanNothingAreRefused) {
  TrainingData data;
  data.queries = queries_.vectors;
  Random random(3);
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (int i = 0; i < 5; ++i) {
      data.judgements.push_back({q, static_cast<std::int64_t>(random.below(kRows)), 1});
    }
  }
  const TrainReport report = train(engine_, data, fast(), Executor(2));
  EXPECT_FALSE(report.accepted);
  EXPECT_EQ(report.model, nullptr);
  EXPECT_NE(report.reason.find("interval"), std::string::npos);
}

TEST_F(TrainTest, LabelsDrawnAtRandomAreRefused) {
  std::vector<std::int64_t> labels;
  Random random(8);
  for (std::size_t i = 0; i < kRows; ++i) {
    labels.push_back(static_cast<std::int64_t>(random.below(6)));
  }
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    TrainOptions options = fast();
    options.metric.seed = seed;
    options.gnn = seed == 1;
    options.gnn_options.steps = 10;
    const TrainReport report = train(engine_, by_node(engine_, labels), options, Executor(2));
    EXPECT_FALSE(report.accepted) << seed;
    EXPECT_EQ(report.model, nullptr);
    EXPECT_LT(report.table.back().gain->mean, 0.05);
  }
}

// Two of them are held out at a time: all of them judge.
TEST_F(TrainTest, TenJudgedQueriesAreEnough) {
  TrainingData data;
  data.queries = queries_.vectors;
  for (std::size_t q = 0; q < 10; ++q) {
    for (std::size_t i = q % 6; i < kRows; i += 12) {
      data.judgements.push_back({q, static_cast<std::int64_t>(i), 1});
    }
  }
  const TrainReport report = train(engine_, data, fast(), Executor(2));
  EXPECT_EQ(report.table.front().quality.queries.size(), 10U);
  ASSERT_TRUE(report.accepted) << report.reason;
  const Data more = make_data(kQueries, 3);
  EXPECT_GT(map_of(engine_.with_trained(report.model), base_, more, RefineMode::kTrained),
            map_of(engine_, base_, more, RefineMode::kOff));
}

TEST_F(TrainTest, FoldsHoldOutEveryVectorOnce) {
  std::vector<std::int64_t> labels = base_.labels;
  for (std::size_t i = 60; i < kRows; ++i) labels[i] = -1;
  const TrainingData data = by_node(engine_, labels);
  EXPECT_EQ(folds_for(data, 0.2), 5U);
  EXPECT_EQ(folds_for(by_node(engine_, base_.labels), 0.2), 2U);
  EXPECT_EQ(folds_for(by_node(engine_, base_.labels), 0.4), 1U);
  std::vector<int> times(60, 0);
  for (std::size_t fold = 0; fold < 5; ++fold) {
    const TrainingSplit split =
        split_training_data(*engine_.snapshot(), data, {.folds = 5, .fold = fold});
    for (const Id id : split.self_ids) ++times[static_cast<std::size_t>(id)];
  }
  EXPECT_TRUE(std::all_of(times.begin(), times.end(), [](int n) { return n == 1; }));
}

TEST_F(TrainTest, UnseenClassesAreHeldOutWhole) {
  const TrainingSplit split =
      split_training_data(*engine_.snapshot(), by_node(engine_, base_.labels),
                          {.fraction = 0.34, .unseen_classes = true});
  std::vector<bool> seen(6, false);
  for (const gnn::Example& example : split.training) seen[example.group] = true;
  EXPECT_EQ(std::count(seen.begin(), seen.end(), true), 4);
  for (const gnn::Example& example : split.held_out) EXPECT_FALSE(seen[example.group]);
}

TEST_F(TrainTest, SplitsHoldTheirPromises) {
  const TrainingSplit split =
      split_training_data(*engine_.snapshot(), by_node(engine_, base_.labels), {.seed = 7});
  EXPECT_EQ(split.held_out.size(), kRows / 5);
  EXPECT_EQ(split.training.size() + split.held_out.size(), kRows);
  EXPECT_EQ(split.validation_queries.rows(), kRows / 5);
  for (std::size_t node = 0; node < kRows; ++node) {
    const bool hidden = split.training_labels[node] == gnn::kNoClass;
    const Id id = engine_.snapshot()->id(static_cast<Node>(node));
    EXPECT_EQ(hidden, std::count(split.self_ids.begin(), split.self_ids.end(), id) == 1);
  }
  for (std::size_t q = 0; q < split.self_ids.size(); ++q) {
    EXPECT_FALSE(split.relevance.relevant(q, split.self_ids[q]));
    EXPECT_EQ(split.relevance.count(q), kRows / 6 - 1);
  }
}

TEST_F(TrainTest, JudgementsTrainTheMetric) {
  TrainingData data;
  data.queries = queries_.vectors;
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t i = q % 6; i < kRows; i += 60) {
      data.judgements.push_back({q, static_cast<std::int64_t>(i), 1});
    }
    data.judgements.push_back({q, static_cast<std::int64_t>((q + 1) % 6), 0});
  }
  const TrainReport report = train(engine_, data, fast(), Executor(2));
  ASSERT_TRUE(report.accepted) << report.reason;
  EXPECT_EQ(report.classes, 0U);
  EXPECT_EQ(report.table.front().quality.queries.size(), kQueries);  // in five parts, in turn
  const Data more = make_data(kQueries, 3);
  EXPECT_GT(map_of(engine_.with_trained(report.model), base_, more, RefineMode::kTrained),
            map_of(engine_, base_, more, RefineMode::kOff));
  data.judgements.push_back({kQueries, 0, 1});
  test::expect_error(ErrorCode::kUnknownId, "judged query",
                     [&] { train(engine_, data, fast(), Executor(1)); });
  data.judgements.back() = {0, 123456, 1};
  test::expect_error(ErrorCode::kUnknownId, "123456",
                     [&] { train(engine_, data, fast(), Executor(1)); });
}

std::vector<std::byte> file_of(const Engine& engine, const std::filesystem::path& path) {
  engine.save(path);
  const io::BundleReader reader(path);
  std::vector<std::byte> bytes;
  for (const auto& section : reader.sections()) {
    const auto more = reader.read(section);
    bytes.insert(bytes.end(), more.begin(), more.end());
  }
  return bytes;
}

TEST_F(TrainTest, SameBytesAtAnyThreadCountAndAfterLoading) {
  const test::TemporaryFolder folder;
  const auto run = [&](std::size_t threads) {
    return engine_.with_trained(
        train(engine_, by_node(engine_, base_.labels), fast(), Executor(threads)).model);
  };
  const Engine one = run(1), two = run(2);
  ASSERT_NE(one.trained(), nullptr);
  EXPECT_TRUE(file_of(one, folder / "one") == file_of(two, folder / "two"));
  const Engine loaded = Engine::load(folder / "one");
  QueryOptions options;
  options.refine = RefineMode::kTrained;
  options.candidates = 100;
  const BatchResults before = one.search(queries_.vectors, options, Executor(1));
  const BatchResults after = loaded.search(queries_.vectors, options, Executor(2));
  EXPECT_EQ(before.ids, after.ids);
  EXPECT_EQ(before.scores, after.scores);
}

// Stops after each state that is written, until training comes to its end.
TEST_F(TrainTest, AnInterruptedTrainingGoesOnToTheSameBytes) {
  const test::TemporaryFolder folder;
  TrainOptions options = fast();
  options.metric.check_every = 20;
  options.gnn = true;
  options.gnn_options.steps = 8;
  options.gnn_options.check_every = 4;
  options.gnn_options.batch = 32;
  const TrainingData data = by_node(engine_, base_.labels);
  const TrainReport whole = train(engine_, data, options, Executor(2));
  ASSERT_TRUE(whole.accepted) << whole.reason;
  options.checkpoint = folder / "checkpoint";
  options.resume = true;

  struct StopAfter : ProgressSink {
    explicit StopAfter(int items) : left(items) {}
    void start(std::string_view, std::uint64_t) override {}
    void advance(std::uint64_t items) override {
      left -= static_cast<int>(items);
      if (left < 0) source.request_stop();
    }
    void finish() override {}
    std::atomic<int> left;
    std::stop_source source;
  };
  int interruptions = 0;
  TrainReport resumed;
  for (int items = 30;; items += items / 2) {
    ASSERT_LT(interruptions, 100);
    StopAfter stop(items);
    try {
      resumed = train(engine_, data, options, Executor(1), Job{&stop, stop.source.get_token()});
      break;
    } catch (const Error& error) {
      ASSERT_EQ(error.code(), ErrorCode::kCancelled);
      ++interruptions;
    }
  }
  EXPECT_GE(interruptions, 3);
  ASSERT_NE(resumed.model, nullptr);
  EXPECT_TRUE(file_of(engine_.with_trained(whole.model), folder / "whole") ==
              file_of(engine_.with_trained(resumed.model), folder / "resumed"));
  options.metric.seed = 9;
  test::expect_error(ErrorCode::kModelMismatch, "other vectors, examples or options",
                     [&] { train(engine_, data, options, Executor(1)); });
}

TEST_F(TrainTest, AGnnIsStoredAndSearchesAsItDid) {
  const test::TemporaryFolder folder;
  const gnn::GnnShape shape{2, 4, 20.0F};
  const Matrix basis = test::random_matrix(8, kDim, 3);
  gnn::GnnModel layers = gnn::make_gnn(8, shape);
  std::vector<Matrix> values;
  std::vector<attention::NamedMatrix> named;
  for (const auto& parameter : layers.named_parameters()) {
    values.push_back(Matrix::copy_of(parameter.value));
    for (std::size_t i = 0; i < values.back().rows(); ++i) {
      for (float& value : values.back().span().row_span(i)) value += 0.1F;
    }
    named.push_back({parameter.name, values.back()});
  }
  const auto query = std::make_shared<const gnn::GnnQuery>(layers.with_parameters(named), shape);
  const Engine trained = engine_.with_trained(prepare_trained(
      *engine_.snapshot(),
      {"made", gnn::Projection(std::vector<float>(kDim, 0.0F), Matrix::copy_of(basis)), 10.0F,
       query, 12},
      {}, 0, Executor(2)));
  trained.save(folder / "index");
  const Engine loaded = Engine::load(folder / "index");
  EXPECT_EQ(loaded.trained()->parts().gnn_window, 12U);
  QueryOptions options;
  options.refine = RefineMode::kTrained;
  options.candidates = 100;
  EXPECT_EQ(trained.search(queries_.vectors, options, Executor(1)).scores,
            loaded.search(queries_.vectors, options, Executor(2)).scores);
  const auto truncate = [&](std::size_t cut) {
    const io::BundleReader reader(folder / "index");
    io::BundleWriter writer;
    for (const auto& section : reader.sections()) {
      auto bytes = reader.read(section);
      if (section.kind == io::SectionKind::kTrainedGnn) {
        if (cut == 0) {
          const float bad = std::numeric_limits<float>::quiet_NaN();
          std::memcpy(bytes.data(), &bad, sizeof bad);
        }
        bytes.resize(bytes.size() - cut);
      }
      writer.add(section.kind, section.name, std::move(bytes));
    }
    writer.write(folder / "forged");
    test::expect_error(ErrorCode::kCorrupt, cut == 0 ? "" : "bytes",
                       [&] { Engine::load(folder / "forged"); });
  };
  truncate(4);
  truncate(0);
}

TEST_F(TrainTest, ForgedModelsAreRefused) {
  const test::TemporaryFolder folder;
  const Engine trained = engine_.with_trained(
      train(engine_, by_node(engine_, base_.labels), fast(), Executor(2)).model);
  trained.save(folder / "whole");
  const auto refuse = [&](io::SectionKind kind, const std::string& text,
                          const std::function<void(std::vector<std::byte>&)>& forge) {
    const io::BundleReader reader(folder / "whole");
    io::BundleWriter writer;
    for (const auto& section : reader.sections()) {
      auto bytes = reader.read(section);
      if (section.kind == kind) forge(bytes);
      writer.add(section.kind, section.name, std::move(bytes));
    }
    writer.write(folder / "forged");
    test::expect_error(ErrorCode::kCorrupt, text, [&] { Engine::load(folder / "forged"); });
  };
  const auto manifest = [&](const std::string& key, const nlohmann::json& value,
                            const std::string& text) {
    refuse(io::SectionKind::kTrainedManifest, text, [&](std::vector<std::byte>& bytes) {
      const auto* begin = reinterpret_cast<const char*>(bytes.data());
      auto json = nlohmann::json::parse(begin, begin + bytes.size());
      json[key] = value;
      const std::string changed = json.dump();
      const auto* first = reinterpret_cast<const std::byte*>(changed.data());
      bytes.assign(first, first + changed.size());
    });
  };
  manifest("size", 4294967295U, "bytes");
  manifest("rank", 1U << 20, "out of range");
  manifest("classes", -1, "count");
  manifest("layers", 9, "out of range");
  manifest("scale", "big", "number");
  manifest("label_weight", -2.0, "label weight");
  refuse(io::SectionKind::kTrainedManifest, "manifest",
         [](std::vector<std::byte>& bytes) { bytes.resize(bytes.size() / 2); });
  refuse(io::SectionKind::kTrainedWindows, "outside the index", [](std::vector<std::byte>& bytes) {
    const std::uint32_t node = kRows;
    std::memcpy(bytes.data(), &node, sizeof node);
  });
  refuse(io::SectionKind::kTrainedStates, "bytes",
         [](std::vector<std::byte>& bytes) { bytes.pop_back(); });
  refuse(io::SectionKind::kTrainedClasses, "outside the index",
         [](std::vector<std::byte>& bytes) { bytes[3] = std::byte{0x7f}; });
  refuse(io::SectionKind::kTrainedProjection, "finite", [](std::vector<std::byte>& bytes) {
    const float bad = std::numeric_limits<float>::infinity();
    std::memcpy(bytes.data(), &bad, sizeof bad);
  });
}

TEST_F(TrainTest, RefusesWhatItCannotLearnFrom) {
  const auto refuse = [&](ErrorCode code, const std::string& text, const TrainingData& data) {
    test::expect_error(code, text, [&] { train(engine_, data, fast(), Executor(1)); });
  };
  refuse(ErrorCode::kInvalidArgument, "labels, or queries", {});
  TrainingData data;
  data.labels.assign(10, 1);
  refuse(ErrorCode::kInvalidArgument, "10 labels", data);
  data.labels.assign(kRows, -1);
  refuse(ErrorCode::kEmpty, "too few", data);
  TrainOptions options;
  options.validation_fraction = 0.9;
  test::expect_error(ErrorCode::kInvalidArgument, "validation_fraction",
                     [&] { options.validate(); });
  QueryOptions query;
  query.refine = RefineMode::kTrained;
  test::expect_error(ErrorCode::kNotPrepared, "trained",
                     [&] { engine_.search(queries_.vectors, query, Executor(1)); });
  const Engine other = build(make_data(50, 9).vectors);
  const auto model = prepare_trained(
      *other.snapshot(),
      {"pca", gnn::Projection(std::vector<float>(kDim, 0.0F), test::random_matrix(4, kDim, 1)), 10,
       nullptr, 0},
      {}, 0, Executor(1));
  test::expect_error(ErrorCode::kModelMismatch, "trained model",
                     [&] { engine_.with_trained(model); });
  test::expect_error(ErrorCode::kModelMismatch, "dimension", [&] {
    prepare_trained(
        *other.snapshot(),
        {"pca", gnn::Projection(std::vector<float>(7, 0.0F), test::random_matrix(4, 7, 1)), 10,
         nullptr, 0},
        {}, 0, Executor(1));
  });
}

}  // namespace
}  // namespace halo
