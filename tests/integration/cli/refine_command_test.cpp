#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class RefineCommandTest : public CliTest {};

TEST_F(RefineCommandTest, SaysWhatItChoseAndWhy) {
  const std::string index = build_index();
  const Outcome outcome = halo({"refine", "--index", index});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* fact :
       {"heads", "centred", "because", "graph neighbours", "harm gate", "time"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fact));
  }
}

TEST_F(RefineCommandTest, JsonDescribesTheModel) {
  const std::string index = build_index();
  const Outcome plain = halo({"refine", "--index", index, "--json", "--quiet"});
  ASSERT_EQ(plain.code, 0) << plain.err;
  const auto model = plain.json()["model"];
  EXPECT_FALSE(model["heads"].empty());
  EXPECT_GT(model["window"], 0);
  EXPECT_GT(model["gnn_layers"], 0);
  EXPECT_TRUE(model["calibrated_gate"].is_null());
  EXPECT_TRUE(model["hubness"].is_number());

  const Outcome calibrated =
      halo({"refine", "--index", index, "--queries", path("queries.npy"), "--json", "--quiet"});
  ASSERT_EQ(calibrated.code, 0) << calibrated.err;
  EXPECT_GE(calibrated.json()["model"]["calibrated_gate"], 0.0);
  EXPECT_LE(calibrated.json()["model"]["calibrated_gate"], 1.0);
}

TEST_F(RefineCommandTest, KeepsAsManyEntriesAsAskedFor) {
  const std::string index = build_index();
  const auto refine = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"refine", "--index", index};
    all.insert(all.end(), more.begin(), more.end());
    return halo(all);
  };
  const Outcome half = refine({"--window-entries", "16"});
  ASSERT_EQ(half.code, 0) << half.err;
  EXPECT_THAT(half.out, HasSubstr("on average 16.0 of them kept"));
  EXPECT_EQ(
      refine({"--json", "--window-entries", "16", "--quiet"}).json()["model"]["entries_share"],
      0.5);
  EXPECT_EQ(refine({"--json", "--quiet"}).json()["model"]["entries_share"], 1.0);
  for (const char* bad : {"0", "33", "-1", "many"}) {
    const Outcome refused = refine({"--window-entries", bad});
    EXPECT_NE(refused.code, 0) << bad;
    EXPECT_THAT(refused.err, HasSubstr("--window-entries"));
  }
  EXPECT_NE(refine({"--window-entries", "16", "--changed"}).code, 0);
}

TEST_F(RefineCommandTest, RefiningTwiceGivesTheSameFile) {
  const std::string index = refined_index();
  const std::string once = read_text(index);
  ASSERT_EQ(halo({"refine", "--index", index, "--threads", "1", "--quiet"}).code, 0);
  EXPECT_TRUE(once == read_text(index));
}

TEST_F(RefineCommandTest, PlainSearchStaysAsItWas) {
  const std::string index = build_index();
  const auto search = [&](const std::string& out) {
    EXPECT_EQ(halo({"search", "--index", index, "--queries", path("queries.npy"), "--out-ids",
                    path(out + "-ids.npy"), "--out-scores", path(out + "-scores.npy"), "--quiet"})
                  .code,
              0);
  };
  search("before");
  ASSERT_EQ(halo({"refine", "--index", index, "--quiet"}).code, 0);
  search("after");
  EXPECT_TRUE(read_text(path("before-ids.npy")) == read_text(path("after-ids.npy")));
  EXPECT_TRUE(read_text(path("before-scores.npy")) == read_text(path("after-scores.npy")));
}

TEST_F(RefineCommandTest, RefusalsLeaveTheIndexAsItWas) {
  const std::string index = build_index();
  const std::string bytes = read_text(index);
  const auto before = files();
  ProcessOptions full_disk;
  full_disk.file_size_limit = 4096;
  expect_refused(halo({"refine", "--index", index, "--quiet"}, full_disk), "no_space", "index");
  EXPECT_EQ(files(), before);
  const std::string narrow = vectors_file("narrow.npy", queries_.view().sub_cols(0, 3));
  expect_refused(halo({"refine", "--index", index, "--queries", narrow, "--quiet"}),
                 "dimension_mismatch", "3");
  EXPECT_TRUE(bytes == read_text(index));
  expect_refused(halo({"refine", "--index", path("gone")}), "not_found", "gone");
  expect_refused(halo({"refine", "--index", path("queries.npy")}), "unsupported_format",
                 "queries.npy");
}

}  // namespace
}  // namespace halo::cli
