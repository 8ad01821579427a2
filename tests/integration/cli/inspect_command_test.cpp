#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "halo/core/executor.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/engine.h"
#include "integration/cli/halo_process.h"

namespace halo::cli {
namespace {

using testing::HasSubstr;

class InspectCommandTest : public CliTest {
 protected:
  nlohmann::json inspect(const std::string& index,
                         const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {"inspect", "--index", index, "--json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const Outcome outcome = halo(arguments);
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.json();
  }
};

TEST_F(InspectCommandTest, ShowsTheWholeIndex) {
  const std::string index = build_index();
  const Outcome outcome = halo({"inspect", "--index", index});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  for (const char* fact :
       {"vectors", "dimension", "metric", "cosine", "window", "global nodes", "mask density",
        "unreachable", "memory", "checksum", "average degree", "not prepared"}) {
    EXPECT_THAT(outcome.out, HasSubstr(fact));
  }
  const auto facts = inspect(index);
  const auto snapshot = Engine::load(index).snapshot();
  EXPECT_EQ(facts["vectors"], kRows);
  EXPECT_EQ(facts["dim"], kDim);
  EXPECT_EQ(facts["window"], snapshot->adaptive_window());
  EXPECT_EQ(facts["unreachable"], 0);
  ASSERT_EQ(facts["layers"].size(), snapshot->num_layers());
  for (std::size_t layer = 0; layer < snapshot->num_layers(); ++layer) {
    EXPECT_EQ(facts["layers"][layer]["nodes"], snapshot->layer_nodes(layer).size());
    EXPECT_EQ(facts["layers"][layer]["edges"], snapshot->edges(layer).entries());
    EXPECT_DOUBLE_EQ(facts["layers"][layer]["average_degree"], snapshot->average_degree(layer));
  }
  EXPECT_GT(facts["mask_density"], 0.0);
  EXPECT_LE(facts["mask_density"], 1.0);
  EXPECT_EQ(facts["checksums"], "valid");
  EXPECT_TRUE(facts["model"].is_null());
  EXPECT_EQ(facts["memory_bytes"]["model"], 0);
  const auto refined = inspect(refined_index());
  EXPECT_FALSE(refined["model"]["heads"].empty());
  EXPECT_GT(refined["memory_bytes"]["model"], 0);
}

TEST_F(InspectCommandTest, ShowsALayer) {
  const auto facts = inspect(build_index(), {"--layer", "0"});
  EXPECT_EQ(facts["nodes"], kRows);
  EXPECT_LE(facts["least_degree"], facts["median_degree"]);
  EXPECT_LE(facts["median_degree"], facts["greatest_degree"]);
  EXPECT_LE(facts["greatest_degree"], 32);
  EXPECT_EQ(facts["first_ids"].size(), 32U);
}

TEST_F(InspectCommandTest, ShowsANodesNeighbours) {
  const std::string index = build_index();
  const auto snapshot = Engine::load(index).snapshot();
  const auto facts = inspect(index, {"--node", "123"});
  std::set<Id> expected;
  const auto node = snapshot->find(123);
  ASSERT_TRUE(node.has_value());
  for (const Node neighbour : snapshot->neighbours(*node, 0))
    expected.insert(snapshot->id(neighbour));
  std::set<Id> found;
  double last = 0;
  for (const auto& neighbour : facts["neighbours"]) {
    found.insert(neighbour["id"].get<Id>());
    EXPECT_GE(neighbour["distance"], last) << "nearest first";
    last = neighbour["distance"];
  }
  EXPECT_EQ(found, expected);
  EXPECT_TRUE(facts["attention"].is_null());
  EXPECT_THAT(halo({"inspect", "--index", index, "--node", "123"}).out, HasSubstr("no attention"));
}

TEST_F(InspectCommandTest, ShowsWhomANodeAttendsTo) {
  const std::string index = refined_index();
  const Engine engine = Engine::load(index);
  const auto facts = inspect(index, {"--node", "7"});
  const std::size_t window = inspect(index)["model"]["window"];
  const CsrMask windows = neighbour_windows(*engine.snapshot(), window, Executor(1));
  std::set<Id> expected;
  for (const Node node : windows.row(*engine.snapshot()->find(7))) {
    expected.insert(engine.snapshot()->id(node));
  }
  std::set<Id> found;
  std::map<std::string, double> sums;
  for (const auto& entry : facts["attention"]) {
    found.insert(entry["id"].get<Id>());
    for (const auto& weight : entry["weights"]) {
      EXPECT_GE(weight["weight"], 0.0);
      sums[weight["head"].get<std::string>()] += weight["weight"].get<double>();
    }
  }
  EXPECT_EQ(found, expected);
  EXPECT_FALSE(sums.empty());
  for (const auto& [name, sum] : sums) EXPECT_NEAR(sum, 1, 1e-4) << name;
  EXPECT_THAT(halo({"inspect", "--index", index, "--node", "7"}).out, HasSubstr("attends to"));
}

TEST_F(InspectCommandTest, RefusesWhatTheIndexDoesNotHold) {
  const std::string index = build_index();
  const std::string bytes = read_text(index);
  expect_refused(halo({"inspect", "--index", index, "--layer", "99"}), "invalid_argument",
                 "layer 99");
  expect_refused(halo({"inspect", "--index", index, "--node", "300"}), "unknown_id", "300");
  expect_refused(halo({"inspect", "--index", path("gone")}), "not_found", "gone");
  EXPECT_TRUE(bytes == read_text(index));
}

}  // namespace
}  // namespace halo::cli
