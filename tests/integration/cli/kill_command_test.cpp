// kill -9 while `halo` saves, for every command that writes an index: afterwards the old index is
// there or the new one, and it verifies. scripts/kill_loop runs it with a number of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/random.h"
#include "halo/integration/engine.h"
#include "integration/cli/halo_process.h"
#include "support/kill_count.h"

namespace halo::cli {
namespace {

namespace fs = std::filesystem;
using std::chrono::microseconds;

class KillCommandTest : public CliTest {
 protected:
  /// True once the command has begun to write its temporary file, false where it ended before.
  bool wait_for_save(pid_t process, const fs::path& folder) {
    while (true) {
      for (const auto& entry : fs::directory_iterator(folder)) {
        if (entry.path().filename().string().starts_with(".index.halo-tmp-")) return true;
      }
      siginfo_t ended{};
      if (waitid(P_PID, static_cast<id_t>(process), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
          ended.si_pid == process) {
        return false;
      }
      std::this_thread::sleep_for(microseconds(50));
    }
  }
};

TEST_F(KillCommandTest, LeavesTheOldIndexOrTheNewOne) {
  const std::string index = path("index"), old = path("old");
  const fs::path folder = fs::path(index).parent_path();
  const std::vector<std::vector<std::string>> commands = {
      {"build", "--vectors", path("vectors.npy"), "--metric", "cosine", "--out", index},
      {"add", "--index", index, "--vectors", path("queries.npy")},
      {"refine", "--index", index},
      {"train", "--index", index, "--labels", path("labels.npy"), "--candidates", "60"},
  };
  refined_index();
  fs::copy_file(index, old);
  const std::string before = read_text(old);
  const int kills = test::kill_count("HALO_COMMAND_KILLS", 24);
  Random random(5);
  int killed = 0, kept = 0;
  for (int round = 0; round < kills; ++round) {
    fs::copy_file(old, index, fs::copy_options::overwrite_existing);
    const pid_t process = start(commands[static_cast<std::size_t>(round) % commands.size()]);
    if (wait_for_save(process, folder)) {
      std::this_thread::sleep_for(microseconds(random.below(2000)));
      kill(process, SIGKILL);
    }
    killed += wait(process) == 128 + SIGKILL ? 1 : 0;
    kept += read_text(index) == before ? 1 : 0;
    ASSERT_NO_THROW(Engine::load(index)) << "kill " << round;
  }
  const Outcome outcome = halo({"verify", "--index", index});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  std::printf("%d commands, %d killed while saving; %d left the old index; 0 lost\n", kills, killed,
              kept);
  EXPECT_GT(killed, 0);
}

}  // namespace
}  // namespace halo::cli
