#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "halo/core/random.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class TrainCommandTest : public CliTest {
 protected:
  /// Judgements that say nothing about the vectors.
  std::string meaningless_judgements() const {
    std::string lines;
    Random random(3);
    for (std::size_t q = 0; q < kQueries; ++q) {
      for (int i = 0; i < 5; ++i) {
        lines += std::to_string(q) + " 0 " + std::to_string(random.below(kRows)) + " 1\n";
      }
    }
    write_text(path("meaningless.qrels"), lines);
    return path("meaningless.qrels");
  }
};

TEST_F(TrainCommandTest, PrintsTheTableAndSearchesWithWhatItLearned) {
  const std::string index = build_index();
  const Outcome outcome = halo({"train", "--index", index, "--labels", path("labels.npy"),
                                "--candidates", "100", "--export-model", path("m.safetensors")});
  ASSERT_EQ(outcome.code, 0) << outcome.err << outcome.out;
  for (const char* fact : {"off", "metric spectral", "whitening", "trained", "Accepted"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fact));
  }
  EXPECT_FALSE(read_text(path("m.safetensors")).empty());
  const Outcome search = halo({"search", "--index", index, "--queries", path("queries.npy"),
                               "--refine", "trained", "--candidates", "100", "--quiet"});
  EXPECT_EQ(search.code, 0) << search.err;
  const Outcome eval =
      halo({"eval", "--index", index, "--queries", path("queries.npy"), "--labels",
            path("labels.npy"), "--query-labels", path("query_labels.npy"), "--json", "--quiet"});
  ASSERT_EQ(eval.code, 0) << eval.err;
  EXPECT_EQ(eval.json()["modes"].back()["mode"], "trained");
  EXPECT_GT(eval.json()["trained_minus_off"]["mAP@100"]["low"], 0.0);
  EXPECT_EQ(halo({"verify", "--index", index}).code, 0);
  // The model is of these vectors: a change of them says that it is gone.
  const auto add = [&] {
    return halo({"add", "--index", index, "--vectors", path("queries.npy"), "--quiet"}).out;
  };
  EXPECT_THAT(add(), HasSubstr("halo train again"));
  EXPECT_THAT(add(), testing::Not(HasSubstr("halo train again")));
}

TEST_F(TrainCommandTest, AnExportedModelIsImportedIntoAnotherIndexOfTheSameVectors) {
  const std::string index = build_index();
  const std::string checkpoint = path("checkpoint.safetensors");
  ASSERT_EQ(halo({"train", "--index", index, "--labels", path("labels.npy"), "--candidates", "100",
                  "--label-share", "0.5", "--checkpoint", checkpoint, "--export-model",
                  path("m.safetensors"), "--quiet"})
                .code,
            0);
  EXPECT_FALSE(read_text(checkpoint).empty());
  EXPECT_EQ(halo({"train", "--index", index, "--labels", path("labels.npy"), "--candidates", "100",
                  "--checkpoint", checkpoint, "--resume", "--quiet"})
                .code,
            1);  // of half the labels
  build_index();
  const Outcome outcome = halo({"import-model", "--index", index, "--model", path("m.safetensors"),
                                "--labels", path("labels.npy"), "--json", "--quiet"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(outcome.json()["classes"], 6);
  EXPECT_EQ(outcome.json()["gnn_layers"], 0);
  EXPECT_EQ(halo({"search", "--index", index, "--queries", path("queries.npy"), "--refine",
                  "trained", "--candidates", "100", "--quiet"})
                .code,
            0);
  const std::string other = build_index("l2");
  expect_refused(
      halo({"import-model", "--index", other, "--model", path("m.safetensors"), "--quiet"}),
      "model_mismatch", "another metric");
}

TEST_F(TrainCommandTest, RefusesWhatDoesNotHelpAndLeavesTheIndexAsItWas) {
  const std::string index = build_index();
  const std::string before = read_text(index);
  const Outcome outcome = halo({"train", "--index", index, "--queries", path("queries.npy"),
                                "--qrels", meaningless_judgements(), "--quiet"});
  EXPECT_EQ(outcome.code, 1);
  EXPECT_THAT(outcome.out, HasSubstr("Refused"));
  EXPECT_THAT(outcome.err, HasSubstr("halo: no_gain: "));
  EXPECT_TRUE(before == read_text(index));
}

TEST_F(TrainCommandTest, WrongUsageAndWrongFiles) {
  const std::string index = build_index();
  EXPECT_EQ(halo({"train", "--index", index}).code, 2);
  EXPECT_EQ(halo({"train", "--index", index, "--queries", path("queries.npy")}).code, 2);
  expect_refused(halo({"train", "--index", index, "--labels", path("query_labels.npy"), "--quiet"}),
                 "invalid_argument", "60 labels for 300");
  expect_refused(halo({"search", "--index", index, "--queries", path("queries.npy"), "--refine",
                       "trained", "--quiet"}),
                 "not_prepared", "trained");
}

}  // namespace
}  // namespace halo::cli
