#include "halo/integration/train_fusion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>

#include "halo/core/random.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/fusion_io.h"
#include "integration/train_fixture.h"
#include "support/test_support.h"

namespace halo {
namespace {

using test::Data;
using test::fast;
using test::kQueries;
using test::kRows;
using test::make_data;
using test::map_of;

using TrainFusion = test::TrainTest;

// Relevant is what shares the query's class: label-free refinement cannot know which of the loud
// dimensions it is, but its terms can be weighed.
TrainingData judged_classes(const Matrix& queries, std::size_t count) {
  TrainingData data;
  data.queries = queries.view().sub_rows(0, count);
  for (std::size_t q = 0; q < count; ++q) {
    for (std::size_t i = q % 6; i < kRows; i += 6) {
      data.judgements.push_back({q, static_cast<std::int64_t>(i), 1});
    }
  }
  return data;
}

std::shared_ptr<const gnn::Fusion> some_weights(const Engine& engine, float weight) {
  auto fusion = std::make_shared<gnn::Fusion>();
  for (const auto& head : engine.model()->parts().heads) fusion->heads.push_back(head.name);
  fusion->weights.assign(gnn::num_terms(fusion->heads.size()), weight);
  return fusion;
}

TEST_F(TrainFusion, FusionWeightsAreJudgedBesideModelsAndByThemselves) {
  const Engine refined = engine_.refined({}, Executor(2));
  const TrainingData data = judged_classes(queries_.vectors, 40);
  TrainOptions options = fast();
  const TrainReport beside = train(refined, data, options, Executor(2));
  const auto line = [&](const std::string& name) {
    return *std::find_if(beside.table.begin(), beside.table.end(),
                         [&](const TrainCandidate& candidate) { return candidate.name == name; });
  };
  EXPECT_EQ(line("fusion 4").quality.queries.size(), 40U);
  EXPECT_GT(line("fusion 4").gain->mean, line("auto").gain->mean);
  EXPECT_TRUE(beside.accepted) << beside.reason;
  EXPECT_NE(beside.model == nullptr, beside.fusion == nullptr);

  options.only_fusion = true;
  const TrainReport report = train(refined, data, options, Executor(2));
  EXPECT_EQ(report.table.size(), 6U);  // off, auto, three pulls, trained
  EXPECT_EQ(report.view, "fusion");
  ASSERT_TRUE(report.accepted) << report.reason;
  ASSERT_NE(report.fusion, nullptr);
  EXPECT_EQ(report.model, nullptr);
  const Data more = make_data(kQueries, 3);
  EXPECT_GT(map_of(refined.with_fusion(report.fusion), base_, more, RefineMode::kTrained),
            map_of(refined, base_, more, RefineMode::kOff));
  const TrainReport again = train(refined, data, options, Executor(1));
  ASSERT_NE(again.fusion, nullptr);
  EXPECT_EQ(again.fusion->weights, report.fusion->weights);
}

TEST_F(TrainFusion, FusionWeightsOfMeaninglessJudgementsAreRefused) {
  const Engine refined = engine_.refined({}, Executor(2));
  for (const std::size_t count : {10U, 60U}) {
    TrainingData data;
    data.queries = queries_.vectors.view().sub_rows(0, count);
    Random random(count);
    for (std::size_t q = 0; q < count; ++q) {
      for (int i = 0; i < 5; ++i) {
        data.judgements.push_back({q, static_cast<std::int64_t>(random.below(kRows)), 1});
      }
    }
    TrainOptions options = fast();
    options.only_fusion = count > 10;
    const TrainReport report = train(refined, data, options, Executor(2));
    EXPECT_FALSE(report.accepted) << count;
    EXPECT_EQ(report.fusion, nullptr);
  }
}

TEST_F(TrainFusion, FusionWeightsFollowTheIndexAndItsFile) {
  const Engine refined = engine_.refined({}, Executor(2));
  const Engine fused = refined.with_fusion(some_weights(refined, 0.5F));
  EXPECT_TRUE(fused.answers_trained());
  EXPECT_FALSE(refined.answers_trained());
  const test::TemporaryFolder folder;
  fused.save(folder / "index");
  const Engine loaded = Engine::load(folder / "index");
  ASSERT_NE(loaded.fusion(), nullptr);
  QueryOptions query;
  query.refine = RefineMode::kTrained;
  query.candidates = 150;
  const BatchResults before = fused.search(queries_.vectors, query, Executor(1));
  EXPECT_EQ(before.ids, loaded.search(queries_.vectors, query, Executor(2)).ids);
  EXPECT_EQ(before.scores, loaded.search(queries_.vectors, query, Executor(2)).scores);
  EXPECT_NE(fused.with_snapshot(fused.snapshot(), Executor(1)).fusion(), nullptr);
  EXPECT_NE(fused.recomputed(Executor(1)).fusion(), nullptr);
  EXPECT_EQ(fused.with_trained(nullptr).fusion(), nullptr);
  EXPECT_EQ(fused.with_fusion(nullptr).fusion(), nullptr);

  // Weights equal to the label-free ones answer as label-free refinement does.
  auto label_free = std::make_shared<gnn::Fusion>(*some_weights(refined, 0.0F));
  query.refine = RefineMode::kAuto;
  const BatchResults automatic = refined.search(queries_.vectors, query, Executor(1));
  label_free->weights = gnn::label_free_weights(*refined.model(), automatic.gate);
  query.refine = RefineMode::kTrained;
  EXPECT_EQ(refined.with_fusion(label_free).search(queries_.vectors, query, Executor(1)).scores,
            automatic.scores);

  test::expect_error(ErrorCode::kNotPrepared, "refined",
                     [&] { engine_.with_fusion(some_weights(refined, 1.0F)); });
  auto other = std::make_shared<gnn::Fusion>(*some_weights(refined, 1.0F));
  other->heads.front() = "x";
  test::expect_error(ErrorCode::kModelMismatch, "other heads", [&] { refined.with_fusion(other); });
  other->weights.pop_back();
  test::expect_error(ErrorCode::kCorrupt, "one weight a term", [&] { refined.with_fusion(other); });
}

// Weights without the model that they belong to, or with another one's heads.
TEST_F(TrainFusion, ForgedFilesAreRefused) {
  const test::TemporaryFolder folder;
  const Engine refined = engine_.refined({}, Executor(2));
  refined.with_fusion(some_weights(refined, 0.5F)).save(folder / "whole");
  const auto refuse = [&](ErrorCode code, const std::string& text, bool with_model) {
    const io::BundleReader reader(folder / "whole");
    io::BundleWriter writer;
    for (const auto& section : reader.sections()) {
      const bool fusion = section.kind == io::SectionKind::kFusion;
      const bool model = section.name.starts_with("model.");
      if ((model && !with_model) || (fusion && with_model)) continue;
      writer.add(section.kind, section.name, reader.read(section));
    }
    if (with_model) io::write_fusion(writer, {{"x"}, {1, 1, 1, 1, 1}});
    writer.write(folder / "forged");
    test::expect_error(code, text, [&] { Engine::load(folder / "forged"); });
  };
  refuse(ErrorCode::kCorrupt, "without a model", false);
  refuse(ErrorCode::kModelMismatch, "other heads", true);
}

TEST_F(TrainFusion, RefusesWhatItCannotLearnFrom) {
  TrainOptions options = fast();
  options.only_fusion = true;
  test::expect_error(ErrorCode::kInvalidArgument, "judged queries", [&] {
    train(engine_, test::by_node(engine_, base_.labels), options, Executor(1));
  });
  test::expect_error(ErrorCode::kNotPrepared, "refined", [&] {
    train(engine_, judged_classes(queries_.vectors, 10), options, Executor(1));
  });
}

}  // namespace
}  // namespace halo
