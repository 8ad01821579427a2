#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class RemoveCommandTest : public CliTest {
 protected:
  Outcome remove(const std::string& index, const std::vector<std::int64_t>& ids) const {
    return halo({"remove", "--index", index, "--ids", integers_file("ids.npy", ids), "--quiet"});
  }
};

TEST_F(RemoveCommandTest, RemovedIdsAreGoneAndTheOthersAreFound) {
  const std::string index = refined_index();
  std::vector<std::int64_t> ids;
  for (std::int64_t id = 0; id < 300; id += 4) ids.push_back(id);
  const Outcome outcome = remove(index, ids);
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_THAT(outcome.out, HasSubstr("75 vectors"));
  EXPECT_THAT(outcome.out, HasSubstr("run halo refine"));  // a third of what is left has gone
  const Engine engine = Engine::load(index);
  ASSERT_NE(engine.model(), nullptr);
  EXPECT_EQ(engine.model()->size(), 225U);
  EXPECT_EQ(engine.model()->parts().changed, 75U);
  ASSERT_EQ(engine.snapshot()->size(), 225U);
  const BatchResults found = engine.search(vectors_, {.k = 1}, Executor(1));
  std::size_t own = 0;
  for (std::size_t row = 0; row < kRows; ++row) {
    if (row % 4 == 0) {
      EXPECT_NE(found.ids[row], static_cast<Id>(row));
    } else {
      own += found.ids[row] == static_cast<Id>(row) ? 1 : 0;
    }
  }
  EXPECT_GT(own, 215U);
  EXPECT_EQ(halo({"verify", "--index", index}).code, 0);
}

TEST_F(RemoveCommandTest, RefusalsLeaveTheIndexAsItWas) {
  const std::string index = build_index();
  const std::string bytes = read_text(index);
  expect_refused(remove(index, {5, 300}), "unknown_id", "id 300");
  expect_refused(remove(index, {5, 5}), "unknown_id", "id 5");
  std::vector<std::int64_t> all(kRows);
  std::iota(all.begin(), all.end(), 0);
  expect_refused(remove(index, all), "empty", "no vector would be left");
  EXPECT_TRUE(bytes == read_text(index)) << "the index changed";
}

}  // namespace
}  // namespace halo::cli
