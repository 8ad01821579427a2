#include "halo/integration/cli/app.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

struct Ran {
  int code = 0;
  std::string out, err;
};

Ran run_here(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "halo");
  std::ostringstream out;
  std::ostringstream err;
  const int code = run(static_cast<int>(arguments.size()), arguments.data(), {out, err}, {});
  return {code, out.str(), err.str()};
}

void expect_usage_error(const Ran& ran, const std::string& text) {
  EXPECT_EQ(ran.code, 2);
  EXPECT_EQ(ran.out, "");
  EXPECT_EQ(ran.err.substr(0, 13), "halo: usage: ");
  EXPECT_NE(ran.err.find(text), std::string::npos) << ran.err;
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 1) << ran.err;
}

TEST(AppTest, HelpEverywhere) {
  const Ran help = run_here({"--help"});
  EXPECT_EQ(help.code, 0);
  EXPECT_EQ(help.err, "");
  for (const char* command : {"build", "search", "refine", "eval", "inspect", "verify"}) {
    EXPECT_NE(help.out.find(command), std::string::npos) << command;
    const Ran command_help = run_here({command, "--help"});
    EXPECT_EQ(command_help.code, 0);
    for (const char* option : {"--json", "--threads", "--seed", "--quiet"}) {
      EXPECT_NE(command_help.out.find(option), std::string::npos) << command << " " << option;
    }
  }
  EXPECT_EQ(run_here({"--version"}).code, 0);
}

TEST(AppTest, WrongUsageIsTwoAndOneLine) {
  expect_usage_error(run_here({}), "halo --help");
  expect_usage_error(run_here({"destroy"}), "destroy");
  expect_usage_error(run_here({"build"}), "is required (see halo build --help)");
  expect_usage_error(run_here({"verify", "--index", "x", "--color"}), "--color");
  expect_usage_error(run_here({"verify", "--index", "x", "--threads", "many"}), "--threads");
  expect_usage_error(run_here({"verify", "--index", "x", "--threads", "-1"}), "--threads");
  expect_usage_error(run_here({"search", "--index", "x", "--queries", "y", "-k", "ten"}), "-k");
  expect_usage_error(run_here({"search", "--index", "x", "--queries", "y", "-k", "-1"}), "-k");
  expect_usage_error(run_here({"search", "--index", "x", "--queries", "y", "--refine", "best"}),
                     "--refine");
  expect_usage_error(run_here({"build", "--vectors", "x", "--out", "y", "--metric", "l3"}),
                     "--metric");
  expect_usage_error(run_here({"eval", "--index", "x", "--queries", "y"}), "--ground-truth");
  expect_usage_error(run_here({"eval", "--index", "x", "--queries", "y", "--labels", "z"}),
                     "--query-labels");
  expect_usage_error(
      run_here({"eval", "--index", "x", "--queries", "y", "--ground-truth", "z", "--exact"}),
      "--exact");
}

TEST(AppTest, CommandsWithoutTheirOptionsAreWrongUsage) {
  for (const char* command : {"build", "train", "add", "remove"}) {
    expect_usage_error(run_here({command}), command);
  }
}

class AppProcessTest : public CliTest {};

TEST_F(AppProcessTest, StandardOutputOnAFullDiskIsAnError) {
  const std::string index = build_index();
  ProcessOptions options;
  options.standard_output = "/dev/full";
  expect_refused(halo({"verify", "--index", index}, options), "no_space", "standard output");
}

}  // namespace
}  // namespace halo::cli
