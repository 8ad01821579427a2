#include "integration/cli/halo_process.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <fstream>
#include <sstream>

#include "halo/integration/io/npy_writer.h"

namespace halo::cli {
namespace {

void redirect(int descriptor, const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
}

/// `arguments` were made ready before the fork: after it only async-signal-safe calls are allowed.
[[noreturn]] void become_halo(char* const* arguments, const std::string& out,
                              const std::string& err, std::uint64_t file_size_limit) {
  redirect(STDOUT_FILENO, out);
  redirect(STDERR_FILENO, err);
  if (file_size_limit != 0) {
    const rlimit limit{file_size_limit, file_size_limit};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(126);
  }
  // Until halo listens for them, signals wait: a test may send one at any time.
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  if (sigprocmask(SIG_BLOCK, &signals, nullptr) != 0) _exit(126);
  execv(arguments[0], arguments);
  _exit(127);
}

pid_t spawn(std::vector<std::string> arguments, const std::string& out, const std::string& err,
            std::uint64_t file_size_limit) {
  arguments.insert(arguments.begin(), HALO_TOOL);
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const pid_t process = fork();
  if (process == 0) become_halo(pointers.data(), out, err, file_size_limit);
  return process;
}

}  // namespace

std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write_text(const std::filesystem::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

CliTest::CliTest()
    : vectors_(test::clustered_matrix(kRows, kDim, kClusters, 0.8F, 1)),
      queries_(Matrix::padded(kQueries, kDim)) {
  // Queries come from the same clusters: the rows after the base's of one larger draw.
  const Matrix all = test::clustered_matrix(kRows + kQueries, kDim, kClusters, 0.8F, 1);
  for (std::size_t i = 0; i < kRows + kQueries; ++i) {
    float* row = i < kRows ? vectors_.row(i) : queries_.row(i - kRows);
    std::copy_n(all.row(i), kDim, row);
    (i < kRows ? labels_ : query_labels_).push_back(static_cast<std::int64_t>(i % kClusters));
  }
  vectors_file("vectors.npy", vectors_);
  vectors_file("queries.npy", queries_);
  integers_file("labels.npy", labels_);
  integers_file("query_labels.npy", query_labels_);
}

Outcome CliTest::halo(const std::vector<std::string>& arguments,
                      const ProcessOptions& options) const {
  // Outputs are captured outside the folder whose files tests list.
  const test::TemporaryFolder capture;
  const std::string out = options.standard_output.empty() ? (capture / "out").string()
                                                          : options.standard_output.string();
  const std::string err = (capture / "err").string();
  Outcome outcome;
  outcome.code = wait(spawn(arguments, out, err, options.file_size_limit));
  if (options.standard_output.empty()) outcome.out = read_text(out);
  outcome.err = read_text(err);
  return outcome;
}

pid_t CliTest::start(const std::vector<std::string>& arguments) const {
  return spawn(arguments, path("captured.out"), path("captured.err"), 0);
}

int CliTest::wait(pid_t process) {
  int status = 0;
  if (process < 0 || waitpid(process, &status, 0) != process) return -1;
  return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

std::string CliTest::vectors_file(const std::string& name, const MatrixView& matrix) const {
  io::write_npy(path(name), matrix);
  return path(name);
}

std::string CliTest::integers_file(const std::string& name,
                                   const std::vector<std::int64_t>& values) const {
  io::write_npy(path(name), values.size(), 1, values);
  return path(name);
}

std::string CliTest::build_index(const std::string& metric) const {
  const Outcome outcome = halo({"build", "--vectors", path("vectors.npy"), "--metric", metric,
                                "--out", path("index"), "--quiet", "--threads", "2"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return path("index");
}

std::string CliTest::refined_index() const {
  std::string index = build_index();
  const Outcome outcome = halo({"refine", "--index", index, "--quiet"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  return index;
}

void CliTest::expect_refused(const Outcome& outcome, const std::string& code,
                             const std::string& text) {
  EXPECT_EQ(outcome.code, 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
  const std::string start = "halo: " + code + ": ";
  EXPECT_EQ(outcome.err.substr(0, start.size()), start) << outcome.err;
  EXPECT_NE(outcome.err.find(text), std::string::npos)
      << outcome.err << "does not say \"" << text << "\"";
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
}

std::vector<std::string> CliTest::files() const {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
    names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace halo::cli
