#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <limits>
#include <thread>

#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;
using testing::Not;

class BuildCommandTest : public CliTest {
 protected:
  std::vector<std::string> build_arguments(const std::string& vectors,
                                           const std::string& metric = "l2") const {
    return {"build", "--vectors", vectors, "--metric", metric, "--out", path("out"), "--quiet"};
  }

  /// Refused, and a file that was there before keeps its bytes.
  void expect_build_refused(std::vector<std::string> arguments, const std::string& code,
                            const std::string& text, const ProcessOptions& options = {}) {
    write_text(path("out"), "precious");
    const auto before = files();
    expect_refused(halo(arguments, options), code, text);
    EXPECT_EQ(read_text(path("out")), "precious");
    EXPECT_EQ(files(), before) << "something was left behind";
  }
};

TEST_F(BuildCommandTest, PrintsWhatItBuilt) {
  const Outcome outcome = halo({"build", "--vectors", path("vectors.npy"), "--metric", "cosine",
                                "--out", path("index"), "--threads", "2"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* fact : {"vectors", "300", "dimension", "16", "layers", "average degree",
                           "unreachable", "time", "memory", "file"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fact));
  }
  EXPECT_THAT(outcome.err, Not(HasSubstr("\r"))) << "no bar where nobody watches";
}

TEST_F(BuildCommandTest, JsonIsOneObject) {
  auto arguments = build_arguments(path("vectors.npy"), "ip");
  arguments.insert(arguments.end(),
                   {"--json", "--M", "8", "--ef-construction", "50", "--seed", "7"});
  const Outcome outcome = halo(arguments);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  const auto facts = outcome.json();
  EXPECT_EQ(facts["vectors"], kRows);
  EXPECT_EQ(facts["dim"], kDim);
  EXPECT_EQ(facts["metric"], "ip");
  EXPECT_EQ(facts["M"], 8);
  EXPECT_EQ(facts["ef_construction"], 50);
  EXPECT_EQ(facts["unreachable"], 0);
  EXPECT_GT(facts["average_degree"], 1.0);
  EXPECT_EQ(facts["file_bytes"], std::filesystem::file_size(path("out")));
  EXPECT_EQ(outcome.err, "");
}

TEST_F(BuildCommandTest, AMemoryLimit) {
  auto arguments = build_arguments(path("vectors.npy"));
  arguments.insert(arguments.end(), {"--memory-limit", "100"});
  expect_build_refused(arguments, "memory_limit", "reading these vectors would take up to");
  arguments.back() = "100k";
  expect_build_refused(arguments, "memory_limit", "these vectors and their index");
  arguments.back() = "1G";
  EXPECT_EQ(halo(arguments).code, 0);
  for (const char* wrong : {"much", "-1", "4X"}) {
    arguments.back() = wrong;
    EXPECT_EQ(halo(arguments).code, 2) << wrong;
  }
}

TEST_F(BuildCommandTest, BuildsOnTheCodesAskedFor) {
  for (const char* codes : {"f32", "bf16", "int8", "auto"}) {
    auto arguments = build_arguments(path("vectors.npy"));
    arguments.insert(arguments.end(), {"--json", "--codes", codes});
    const auto built = halo(arguments).json();
    const std::string expected = codes == std::string("auto") ? "f32" : codes;  // a small index
    EXPECT_EQ(built["codes"], expected);
    const auto inspected = halo({"inspect", "--index", path("out"), "--json"}).json();
    EXPECT_EQ(inspected["codes"], expected) << "the file remembers";
    EXPECT_EQ(inspected["memory_bytes"]["codes"] > 0, expected != "f32");
  }
  auto arguments = build_arguments(path("vectors.npy"));
  arguments.insert(arguments.end(), {"--codes", "int4"});
  EXPECT_EQ(halo(arguments).code, 2);
}

TEST_F(BuildCommandTest, ADryRunOnlyEstimates) {
  auto arguments = build_arguments(path("vectors.npy"));
  arguments.insert(arguments.end(), {"--dry-run", "--codes", "int8"});
  const Outcome text = halo(arguments);
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("at most"));
  arguments.emplace_back("--json");
  const auto facts = halo(arguments).json();
  EXPECT_FALSE(std::filesystem::exists(path("out")));
  EXPECT_EQ(facts["vectors"], kRows);
  EXPECT_EQ(facts["memory_bytes"]["codes"], kRows * 64);
  EXPECT_GT(facts["peak_memory_bytes"], facts["index_bytes"]);
}

TEST_F(BuildCommandTest, DeterministicFilesDoNotDependOnThreads) {
  std::string first;
  for (const char* threads : {"1", "2"}) {
    auto arguments = build_arguments(path("vectors.npy"));
    arguments.insert(arguments.end(), {"--deterministic", "--seed", "5", "--threads", threads});
    ASSERT_EQ(halo(arguments).code, 0);
    if (first.empty()) {
      first = read_text(path("out"));
    } else {
      EXPECT_TRUE(first == read_text(path("out")));
    }
  }
}

TEST_F(BuildCommandTest, RefusesVectorsNoIndexCanHold) {
  Matrix bad = Matrix::copy_of(vectors_);
  bad.row(17)[3] = std::numeric_limits<float>::quiet_NaN();
  expect_build_refused(build_arguments(vectors_file("bad.npy", bad)), "non_finite", "17");
  bad.row(17)[3] = std::numeric_limits<float>::infinity();
  expect_build_refused(build_arguments(vectors_file("bad.npy", bad)), "non_finite", "17");
  std::fill_n(bad.row(17), kDim, 0.0F);
  expect_build_refused(build_arguments(vectors_file("bad.npy", bad), "cosine"), "zero_vector",
                       "17");
  EXPECT_EQ(halo(build_arguments(vectors_file("bad.npy", bad), "l2")).code, 0)
      << "a zero vector has distances";
}

TEST_F(BuildCommandTest, RefusesFilesThatAreNotVectors) {
  expect_build_refused(build_arguments(path("missing.npy")), "not_found", "missing.npy");
  std::filesystem::create_directory(path("folder.npy"));
  expect_build_refused(build_arguments(path("folder.npy")), "io", "folder.npy");
  write_text(path("empty.npy"), "");
  expect_build_refused(build_arguments(path("empty.npy")), "corrupt", "empty.npy");
  write_text(path("foreign.npy"), std::string(500, 'x'));
  expect_build_refused(build_arguments(path("foreign.npy")), "unsupported_format", "foreign.npy");
  write_text(path("foreign.txt"), "1 2 3");
  expect_build_refused(build_arguments(path("foreign.txt")), "unsupported_format", "foreign.txt");
  const std::string whole = read_text(path("vectors.npy"));
  write_text(path("cut.npy"), whole.substr(0, whole.size() - 5));
  expect_build_refused(build_arguments(path("cut.npy")), "corrupt", "cut.npy");
  vectors_file("none.npy", MatrixView(vectors_.data(), 0, kDim));
  expect_build_refused(build_arguments(path("none.npy")), "empty", "none.npy");
  if (geteuid() != 0) {  // root may read everything
    write_text(path("secret.npy"), whole);
    std::filesystem::permissions(path("secret.npy"), std::filesystem::perms::none);
    expect_build_refused(build_arguments(path("secret.npy")), "io", "secret.npy");
  }
}

TEST_F(BuildCommandTest, RefusesBadIdsAndOptions) {
  const auto with = [&](const std::vector<std::string>& more) {
    auto arguments = build_arguments(path("vectors.npy"));
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  };
  std::vector<std::int64_t> ids(kRows);
  for (std::size_t i = 0; i < kRows; ++i) ids[i] = static_cast<std::int64_t>(1000 + i);
  EXPECT_EQ(halo(with({"--ids", integers_file("ids.npy", ids)})).code, 0);
  ids[5] = ids[250];
  expect_build_refused(with({"--ids", integers_file("ids.npy", ids)}), "duplicate_id", "1250");
  ids[5] = -3;
  expect_build_refused(with({"--ids", integers_file("ids.npy", ids)}), "invalid_argument", "-3");
  ids.resize(10);
  expect_build_refused(with({"--ids", integers_file("ids.npy", ids)}), "invalid_argument",
                       "10 ids for 300 vectors");
  expect_build_refused(with({"--M", "1"}), "invalid_argument", "M");
  expect_build_refused(with({"--M", "257"}), "invalid_argument", "M");
  expect_build_refused(with({"--ef-construction", "0"}), "invalid_argument", "ef");
}

TEST_F(BuildCommandTest, RefusesOutputsItCannotWrite) {
  auto arguments = build_arguments(path("vectors.npy"));
  const std::string vectors = read_text(path("vectors.npy"));
  arguments[6] = path("vectors.npy");
  expect_build_refused(arguments, "invalid_argument", "overwritten");
  EXPECT_TRUE(vectors == read_text(path("vectors.npy")));
  arguments[6] = path("missing/index");
  expect_build_refused(arguments, "io", "no folder");
  std::filesystem::create_directory(path("folder"));
  arguments[6] = path("folder");
  expect_build_refused(arguments, "io", "is a folder");
  arguments[6] = "/dev/full";
  expect_build_refused(arguments, "io", "/dev/full");
}

TEST_F(BuildCommandTest, AFullDiskLeavesTheOldFile) {
  ProcessOptions options;
  options.file_size_limit = 4096;
  expect_build_refused(build_arguments(path("vectors.npy")), "no_space", "out", options);
}

TEST_F(BuildCommandTest, CtrlCStopsWithNothingHalfWritten) {
  const Matrix large = test::random_matrix(60'000, 32, 4);
  const std::string file = vectors_file("large.npy", large);
  const auto before = files();
  for (const int signal : {SIGINT, SIGTERM}) {
    // Minutes of work, so that the signal comes in the middle of it.
    const pid_t process = start({"build", "--vectors", file, "--metric", "l2", "--out", path("out"),
                                 "--threads", "1", "--ef-construction", "4000", "--M", "64"});
    std::this_thread::sleep_for(std::chrono::milliseconds(1500));
    kill(process, signal);
    EXPECT_EQ(wait(process), 128 + signal);
    EXPECT_THAT(read_text(path("captured.err")), HasSubstr("halo: cancelled: "));
    EXPECT_EQ(read_text(path("captured.out")), "");
    std::filesystem::remove(path("captured.err"));
    std::filesystem::remove(path("captured.out"));
  }
  EXPECT_EQ(files(), before);
}

}  // namespace
}  // namespace halo::cli
