// Runs the built `halo` in a process of its own, and the files the command tests share.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "halo/core/matrix_view.h"
#include "support/test_support.h"

namespace halo::cli {

struct Outcome {
  int code = 0;  ///< exit code, or 128 + the signal that ended the process
  std::string out, err;

  nlohmann::json json() const { return nlohmann::json::parse(out); }
};

struct ProcessOptions {
  std::filesystem::path standard_output;  ///< instead of capturing it
  std::uint64_t file_size_limit = 0;      ///< bytes a file may have, as on a full disk; 0: none
};

std::string read_text(const std::filesystem::path& path);
void write_text(const std::filesystem::path& path, const std::string& text);

/// A temporary folder with vectors (300 x 16 in 6 clusters), queries and their labels.
class CliTest : public testing::Test {
 protected:
  static constexpr std::size_t kRows = 300;
  static constexpr std::size_t kDim = 16;
  static constexpr std::size_t kQueries = 60;
  static constexpr std::size_t kClusters = 6;

  CliTest();

  /// Runs halo with `arguments`; those naming a file must be whole paths.
  Outcome halo(const std::vector<std::string>& arguments, const ProcessOptions& options = {}) const;
  /// Starts it; standard error goes to path("captured.err").
  pid_t start(const std::vector<std::string>& arguments) const;
  static int wait(pid_t process);

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  /// Writes a matrix as path(name).
  std::string vectors_file(const std::string& name, const MatrixView& matrix) const;
  std::string integers_file(const std::string& name, const std::vector<std::int64_t>& values) const;

  /// Builds path("index") over the vectors.
  std::string build_index(const std::string& metric = "cosine") const;
  /// The same, refined.
  std::string refined_index() const;

  /// Expects exit code 1, nothing on standard output and one line `halo: <code>: ...<text>...`.
  static void expect_refused(const Outcome& outcome, const std::string& code,
                             const std::string& text);
  /// Names of the files in the folder.
  std::vector<std::string> files() const;

  Matrix vectors_, queries_;
  std::vector<std::int64_t> labels_, query_labels_;

 private:
  test::TemporaryFolder folder_;
};

}  // namespace halo::cli
