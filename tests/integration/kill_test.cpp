// kill -9 at a random moment of a save, again and again: afterwards the old index is there or the
// new one, whole, and it loads. scripts/kill_loop runs it with a number of its own.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/random.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/vector_index.h"
#include "halo/integration/engine.h"
#include "halo/integration/train.h"
#include "support/kill_count.h"
#include "support/test_support.h"

namespace halo {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kRows = 300, kDim = 16;

/// What build, add, refine and train leave behind, one after the other.
std::vector<Engine> stages() {
  const Executor executor(1);
  const Matrix vectors = test::clustered_matrix(kRows + 20, kDim, 6, 0.5F, 3);
  BuildOptions build;
  build.deterministic = true;
  const Engine built = Engine::build(vectors.view().sub_rows(0, kRows), {}, build, executor);
  VectorIndex index = VectorIndex::resume(*built.snapshot(), executor, true);
  index.add(vectors.view().sub_rows(kRows, 20), executor);
  const Engine added(index.seal(executor));
  const Engine refined = added.refined({}, executor);
  Matrix basis = Matrix::padded(4, kDim);
  for (std::size_t r = 0; r < 4; ++r) basis.row(r)[r] = 1;
  const Engine trained = refined.with_trained(prepare_trained(
      *refined.snapshot(), {"pca", gnn::Projection(std::vector<float>(kDim), std::move(basis))}, {},
      0, executor));
  return {built, added, refined, trained};
}

std::string contents(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::size_t files_in(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// Saves one stage after the other until it is killed.
[[noreturn]] void save_forever(const std::vector<Engine>& engines, std::size_t first,
                               const fs::path& path) {
  try {
    for (std::size_t i = first;; ++i) engines[i % engines.size()].save(path);
  } catch (...) {
    _exit(1);
  }
}

TEST(Kill, EverySaveLeavesTheOldIndexOrTheNewOne) {
  const test::TemporaryFolder folder;
  const fs::path path = folder / "index";
  const std::vector<Engine> engines = stages();
  std::vector<std::string> files;
  const auto start = Clock::now();
  for (const Engine& engine : engines) {
    engine.save(path);
    files.push_back(contents(path));
  }
  const auto save_time =
      std::chrono::duration_cast<std::chrono::microseconds>(Clock::now() - start) / files.size();

  const int kills = test::kill_count("HALO_KILLS", 500);
  Random random(static_cast<std::uint64_t>(kills));
  std::array<int, 4> found{};
  int within = 0;
  for (int round = 0; round < kills; ++round) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) save_forever(engines, static_cast<std::size_t>(round), path);
    const auto most = 3 * static_cast<std::uint64_t>(save_time.count()) + 1000;
    std::this_thread::sleep_for(std::chrono::microseconds(random.below(most)));
    ASSERT_EQ(kill(child, SIGKILL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << "a save failed by itself";

    within += files_in(folder.path()) > 1 ? 1 : 0;  // its temporary file is still there
    const std::string now = contents(path);
    const auto which = std::find(files.begin(), files.end(), now) - files.begin();
    ASSERT_LT(which, 4) << "kill " << round << " left " << now.size() << " bytes of nothing known";
    ++found[static_cast<std::size_t>(which)];
    const Engine loaded = Engine::load(path);
    const Engine& saved = engines[static_cast<std::size_t>(which)];
    ASSERT_EQ(loaded.snapshot()->size(), saved.snapshot()->size());
    ASSERT_EQ(loaded.model() != nullptr, saved.model() != nullptr);
    ASSERT_EQ(loaded.trained() != nullptr, saved.trained() != nullptr);
  }
  engines[0].save(path);
  EXPECT_EQ(files_in(folder.path()), 1u) << "abandoned temporary files were not swept";
  std::printf(
      "%d kills, %d of them in the midst of writing; found as built %d, added %d, refined %d, "
      "trained %d; 0 lost\n",
      kills, within, found[0], found[1], found[2], found[3]);
  // Otherwise this test looks at nothing.
  EXPECT_GT(within, kills / 20);
  for (const int count : found) EXPECT_GT(count, 0);
}

}  // namespace
}  // namespace halo
