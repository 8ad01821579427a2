#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <set>

#include "halo/core/executor.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class SearchCommandTest : public CliTest {
 protected:
  static std::vector<std::string> search_arguments(const std::string& index,
                                                   const std::string& queries,
                                                   const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"search",    "--index", index,
                                          "--queries", queries,   "--quiet"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  /// Refused, with the index's bytes and the folder's files as before.
  void expect_search_refused(const std::string& index, const std::vector<std::string>& arguments,
                             const std::string& code, const std::string& text,
                             const ProcessOptions& options = {}) {
    const std::string bytes = read_text(index);
    const auto before = files();
    expect_refused(halo(arguments, options), code, text);
    EXPECT_TRUE(bytes == read_text(index)) << "the index changed";
    EXPECT_EQ(files(), before);
  }
};

TEST_F(SearchCommandTest, WritesWhatTheLibraryFinds) {
  const std::string index = build_index();
  const Outcome outcome = halo(search_arguments(
      index, path("queries.npy"),
      {"-k", "7", "--out-ids", path("ids.npy"), "--out-scores", path("scores.npy")}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* fact :
       {"queries", "queries/s", "p50", "p95", "p99", "graph search", "refinement"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fact));
  }
  QueryOptions options;
  options.k = 7;
  const BatchResults expected = Engine::load(index).search(queries_, options, Executor(1));
  const io::IdMatrix ids = io::load_ground_truth(path("ids.npy"));
  EXPECT_EQ(ids.rows, kQueries);
  EXPECT_EQ(ids.cols, 7U);
  EXPECT_EQ(ids.values, expected.ids);
  const Matrix scores = io::load_vectors(path("scores.npy"));
  ASSERT_EQ(scores.rows(), kQueries);
  for (std::size_t q = 0; q < kQueries; ++q) {
    for (std::size_t i = 0; i < 7; ++i) EXPECT_EQ(scores.row(q)[i], expected.scores[q * 7 + i]);
  }
}

TEST_F(SearchCommandTest, JsonHoldsTheFigures) {
  const Outcome outcome =
      halo(search_arguments(build_index(), path("queries.npy"), {"--json", "--ef", "33"}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto facts = outcome.json();
  EXPECT_EQ(facts["queries"], kQueries);
  EXPECT_EQ(facts["k"], 10);
  EXPECT_EQ(facts["ef"], 33);
  EXPECT_GT(facts["queries_per_second"], 0);
  EXPECT_LE(facts["latency_seconds"]["p50"], facts["latency_seconds"]["p99"]);
  EXPECT_GT(facts["stage_seconds"]["search"], 0);
  EXPECT_EQ(facts["stage_seconds"]["refine"], 0);
}

TEST_F(SearchCommandTest, FiltersLeaveOnlyTheirIds) {
  const std::string index = build_index();
  const std::set<std::int64_t> allowed = {3, 9, 150};
  const auto filter = integers_file("filter.npy", {allowed.begin(), allowed.end()});
  ASSERT_EQ(halo(search_arguments(index, path("queries.npy"),
                                  {"-k", "5", "--filter", filter, "--out-ids", path("ids.npy")}))
                .code,
            0);
  const io::IdMatrix ids = io::load_ground_truth(path("ids.npy"));
  for (std::size_t q = 0; q < kQueries; ++q) {
    const std::set<std::int64_t> found(ids.row(q).begin(), ids.row(q).begin() + 3);
    EXPECT_EQ(found, allowed);
    EXPECT_EQ(ids.row(q)[3], -1) << "places without a result";
    EXPECT_EQ(ids.row(q)[4], -1);
  }
}

TEST_F(SearchCommandTest, RefinedSearchWritesFusedScores) {
  const std::string index = refined_index();
  const Outcome outcome =
      halo(search_arguments(index, path("queries.npy"),
                            {"--refine", "auto", "--json", "--out-ids", path("ids.npy"),
                             "--out-scores", path("scores.npy")}));
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_GT(outcome.json()["stage_seconds"]["refine"], 0);
  const Matrix scores = io::load_vectors(path("scores.npy"));
  for (std::size_t q = 0; q < kQueries; ++q) {
    EXPECT_TRUE(std::is_sorted(scores.row(q), scores.row(q) + 10, std::greater<>()))
        << "query " << q;
  }
  // -k may be as large as the number of candidates, and no larger.
  EXPECT_EQ(halo(search_arguments(index, path("queries.npy"),
                                  {"--refine", "auto", "-k", "50", "--candidates", "50"}))
                .code,
            0);
  expect_search_refused(index,
                        search_arguments(index, path("queries.npy"),
                                         {"--refine", "auto", "-k", "51", "--candidates", "50"}),
                        "invalid_argument", "51");
}

TEST_F(SearchCommandTest, RefusesQueriesTheIndexCannotAnswer) {
  const std::string index = build_index();
  const std::string narrow = vectors_file("narrow.npy", queries_.view().sub_cols(0, kDim - 1));
  expect_search_refused(index, search_arguments(index, narrow), "dimension_mismatch", "15");
  Matrix bad = Matrix::copy_of(queries_);
  bad.row(41)[0] = std::numeric_limits<float>::quiet_NaN();
  expect_search_refused(index, search_arguments(index, vectors_file("bad.npy", bad)), "non_finite",
                        "41");
  bad.row(41)[0] = -std::numeric_limits<float>::infinity();
  expect_search_refused(index, search_arguments(index, vectors_file("bad.npy", bad)), "non_finite",
                        "41");
  std::fill_n(bad.row(41), kDim, 0.0F);
  expect_search_refused(index, search_arguments(index, vectors_file("bad.npy", bad)), "zero_vector",
                        "41");
  expect_search_refused(
      index, search_arguments(index, vectors_file("none.npy", queries_.view().sub_rows(0, 0))),
      "empty", "none.npy");
  expect_search_refused(index, search_arguments(index, path("gone.npy")), "not_found", "gone.npy");
}

TEST_F(SearchCommandTest, RefusesOptionsOutOfRange) {
  const std::string index = build_index();
  const auto with = [&](const std::vector<std::string>& more) {
    return search_arguments(index, path("queries.npy"), more);
  };
  expect_search_refused(index, with({"-k", "0"}), "invalid_argument", "k");
  expect_search_refused(index, with({"-k", "301"}), "invalid_argument", "301");
  expect_search_refused(index, with({"--ef", "0"}), "invalid_argument", "ef");
  expect_search_refused(index, with({"--refine", "auto"}), "not_prepared", "refine");
  expect_search_refused(index, with({"--filter", integers_file("filter.npy", {1, 300})}),
                        "unknown_id", "300");
  EXPECT_EQ(halo(with({"-k", "300"})).code, 0) << "every vector may be asked for";
}

TEST_F(SearchCommandTest, RefusesFilesThatAreNotAnIndex) {
  const std::string index = build_index();
  const std::string whole = read_text(index);
  const auto refused = [&](const std::string& file, const std::string& code) {
    const std::string bytes = read_text(file);
    expect_refused(halo(search_arguments(file, path("queries.npy"))), code, "");
    EXPECT_TRUE(bytes == read_text(file));
  };
  refused(path("gone"), "not_found");
  refused(path("queries.npy"), "unsupported_format");
  write_text(path("empty"), "");
  expect_refused(halo(search_arguments(path("empty"), path("queries.npy"))), "corrupt", "empty");
  write_text(path("cut"), whole.substr(0, whole.size() / 2));
  refused(path("cut"), "corrupt");
  std::string flipped = whole;
  flipped[whole.size() / 2] = static_cast<char>(flipped[whole.size() / 2] ^ 4);
  write_text(path("flipped"), flipped);
  refused(path("flipped"), "corrupt");
  std::filesystem::create_directory(path("folder"));
  expect_refused(halo(search_arguments(path("folder"), path("queries.npy"))), "io", "folder");
}

TEST_F(SearchCommandTest, RefusesOutputsItCannotWrite) {
  const std::string index = build_index();
  const auto with = [&](const std::string& option, const std::string& output) {
    return search_arguments(index, path("queries.npy"), {option, output});
  };
  std::filesystem::create_directory(path("folder"));
  for (const char* option : {"--out-ids", "--out-scores"}) {
    expect_search_refused(index, with(option, path("folder")), "io", "folder");
    expect_search_refused(index, with(option, path("gone/ids.npy")), "io", "gone");
    expect_search_refused(index, with(option, "/dev/full"), "io", "/dev/full");
    expect_search_refused(index, with(option, index), "invalid_argument", "overwritten");
    expect_search_refused(index, with(option, path("queries.npy")), "invalid_argument",
                          "overwritten");
    ProcessOptions full_disk;
    full_disk.file_size_limit = 256;
    expect_search_refused(index, with(option, path("results.npy")), "no_space", "results.npy",
                          full_disk);
  }
  expect_search_refused(index,
                        search_arguments(index, path("queries.npy"),
                                         {"--out-ids", path("same"), "--out-scores", path("same")}),
                        "invalid_argument", "same file");
}

}  // namespace
}  // namespace halo::cli
