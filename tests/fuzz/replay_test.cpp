// The seeds of every fuzz target, and what fuzzing once found, with this build's compiler.
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <string>

#include "fuzz/targets.h"

namespace halo::fuzz {

namespace fs = std::filesystem;

static std::ostream& operator<<(std::ostream& out, const Target& target) {
  return out << target.name;
}

namespace {

class Replay : public testing::TestWithParam<Target> {};

TEST_P(Replay, Corpus) {
  const fs::path folder = fs::path(HALO_SOURCE_DIR) / "tests/fuzz/corpus" / GetParam().name;
  std::size_t inputs = 0;
  for (const auto& entry : fs::directory_iterator(folder)) {
    SCOPED_TRACE(entry.path().filename());
    std::ifstream file(entry.path(), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::fprintf(stderr, "%s\n", entry.path().filename().c_str());  // the last one is the finding
    GetParam().run(std::as_bytes(std::span(text)));
    ++inputs;
  }
  EXPECT_GT(inputs, 0u);
  std::printf("%zu inputs replayed\n", inputs);
}

/// What libFuzzer begins with, too.
TEST_P(Replay, EmptyAndTiny) {
  GetParam().run({});
  for (int value = 0; value < 256; ++value) {
    const std::byte one[] = {static_cast<std::byte>(value)};
    GetParam().run(Input(one));
  }
}

INSTANTIATE_TEST_SUITE_P(Fuzz, Replay, testing::ValuesIn(kTargets),
                         [](const testing::TestParamInfo<Target>& target) {
                           return std::string(target.param.name);
                         });

}  // namespace
}  // namespace halo::fuzz
