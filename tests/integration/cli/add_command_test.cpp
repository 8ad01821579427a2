#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class AddCommandTest : public CliTest {
 protected:
  std::vector<std::string> add_arguments(const std::string& index, const std::string& vectors,
                                         const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"add", "--index", index, "--vectors", vectors, "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  void expect_add_refused(const std::string& index, const std::vector<std::string>& arguments,
                          const std::string& code, const std::string& text) {
    const std::string bytes = read_text(index);
    const auto before = files();
    expect_refused(halo(arguments), code, text);
    EXPECT_TRUE(bytes == read_text(index)) << "the index changed";
    EXPECT_EQ(files(), before);
  }
};

TEST_F(AddCommandTest, NumbersGoOnAndEverythingIsFound) {
  const std::string index = build_index();
  const Outcome outcome = halo(add_arguments(index, path("queries.npy"), {"--json"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto facts = outcome.json();
  EXPECT_EQ(facts["added"], kQueries);
  EXPECT_EQ(facts["first_id"], kRows);
  EXPECT_EQ(facts["vectors"], kRows + kQueries);
  EXPECT_TRUE(facts["refinement"].is_null());
  const Engine engine = Engine::load(index);
  ASSERT_EQ(engine.snapshot()->size(), kRows + kQueries);
  const BatchResults found = engine.search(queries_, {.k = 1}, Executor(1));
  std::size_t own = 0;
  for (std::size_t q = 0; q < kQueries; ++q) {
    own += found.ids[q] == static_cast<Id>(kRows + q) ? 1 : 0;
  }
  EXPECT_GT(own, kQueries * 9 / 10);
  EXPECT_EQ(halo({"verify", "--index", index}).code, 0);
}

TEST_F(AddCommandTest, TakesIdsAndTheRefinementAlong) {
  const std::string index = refined_index();
  std::vector<std::int64_t> ids(kQueries);
  std::iota(ids.begin(), ids.end(), 5000);
  const Outcome outcome =
      halo(add_arguments(index, path("queries.npy"), {"--ids", integers_file("ids.npy", ids)}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("of the vectors changed since"));
  const Engine engine = Engine::load(index);
  ASSERT_NE(engine.model(), nullptr);
  EXPECT_TRUE(engine.model()->parts().dirty.empty());
  EXPECT_EQ(engine.model()->parts().changed, kQueries);
  EXPECT_EQ(halo({"search", "--index", index, "--queries", path("queries.npy"), "--refine", "auto",
                  "--quiet"})
                .code,
            0);
  EXPECT_TRUE(engine.snapshot()->find(5059).has_value());
}

TEST_F(AddCommandTest, RefinementOfWhatChangedMayWait) {
  const std::string index = refined_index();
  const Outcome added =
      halo(add_arguments(index, path("queries.npy"), {"--refine-later", "--json"}));
  ASSERT_EQ(added.code, 0) << added.err;
  EXPECT_GT(added.json()["refinement"]["dirty"], kQueries - 1);
  const Outcome inspected = halo({"inspect", "--index", index});
  EXPECT_THAT(inspected.out, HasSubstr("wait for halo refine --changed"));
  ASSERT_EQ(halo({"refine", "--index", index, "--changed", "--quiet"}).code, 0);
  EXPECT_EQ(halo({"inspect", "--index", index, "--json"}).json()["model"]["changes"]["dirty"], 0);
}

TEST_F(AddCommandTest, DeterministicFilesDoNotDependOnThreads) {
  std::string first;
  for (const char* threads : {"1", "2"}) {
    ASSERT_EQ(halo({"build", "--vectors", path("vectors.npy"), "--metric", "l2", "--out",
                    path("index"), "--deterministic", "--quiet"})
                  .code,
              0);
    ASSERT_EQ(halo(add_arguments(path("index"), path("queries.npy"),
                                 {"--deterministic", "--threads", threads}))
                  .code,
              0);
    if (first.empty()) {
      first = read_text(path("index"));
    } else {
      EXPECT_TRUE(first == read_text(path("index")));
    }
  }
}

TEST_F(AddCommandTest, RefusesWhatTheIndexCannotTake) {
  const std::string index = build_index();
  std::vector<std::int64_t> ids(kQueries);
  std::iota(ids.begin(), ids.end(), 299);
  expect_add_refused(
      index, add_arguments(index, path("queries.npy"), {"--ids", integers_file("ids.npy", ids)}),
      "duplicate_id", "id 299");
  ids.pop_back();
  expect_add_refused(
      index, add_arguments(index, path("queries.npy"), {"--ids", integers_file("ids.npy", ids)}),
      "invalid_argument", "59 ids for 60 vectors");
  const std::string narrow = vectors_file("narrow.npy", test::random_matrix(3, 4, 1));
  expect_add_refused(index, add_arguments(index, narrow), "dimension_mismatch", "4 floats");
  expect_add_refused(index, add_arguments(index, path("missing.npy")), "not_found", "missing.npy");
}

}  // namespace
}  // namespace halo::cli
