#include "halo/integration/service/api_answers.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>

namespace halo::service {
namespace {

using nlohmann::json;

TEST(ApiAnswers, ItemsAreJson) {
  EXPECT_EQ(json::parse(item_list_json({})), json::parse(R"({"items": [], "last": null})"));
  const std::vector<std::pair<Id, std::string>> items = {{3, "{}"}, {9, R"({"a":{"b":[1]}})"}};
  EXPECT_EQ(json::parse(item_list_json(items)), json::parse(R"({"items": [{"id": 3, "metadata": {}},
                                      {"id": 9, "metadata": {"a": {"b": [1]}}}], "last": 9})"));
  EXPECT_EQ(json::parse(item_json(4, R"({"a":1})", {})),
            json::parse(R"({"id": 4, "metadata": {"a": 1}})"));
}

// The shortest text of a float gives back the float; what JSON has no number for is null.
TEST(ApiAnswers, NumbersComeBack) {
  const float odd[] = {0.1F, -0.0F, 1e-45F, 3.4028235e38F, -16777217.0F};
  const json there = json::parse(item_json(0, "{}", odd))["vector"];
  ASSERT_EQ(there.size(), std::size(odd));
  for (std::size_t i = 0; i < std::size(odd); ++i) EXPECT_EQ(there[i].get<float>(), odd[i]);
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  constexpr float kFar = std::numeric_limits<float>::infinity();
  const float none[] = {kNone, -kNone, kFar, -kFar};
  const json nulls = json::parse(item_json(0, "{}", none))["vector"];
  ASSERT_EQ(nulls.size(), std::size(none));
  for (const json& number : nulls) EXPECT_TRUE(number.is_null());
}

// A number of one digit leaves no room for what stood in the buffer before it.
TEST(ApiAnswers, DigitsAreNumbersWhateverCameBefore) {
  constexpr float kNone = std::numeric_limits<float>::quiet_NaN();
  for (const float before : {-kNone, kNone, -std::numeric_limits<float>::infinity(), 1.0F}) {
    for (int digit = 0; digit < 10; ++digit) {
      const float values[] = {before, static_cast<float>(digit)};
      EXPECT_EQ(json::parse(item_json(0, "{}", values))["vector"][1], digit);
    }
  }
}

TEST(ApiAnswers, JobsSayWhatBecameOfThem) {
  Collection::Job job;
  job.number = 3;
  job.kind = "refine";
  job.state = "waiting";
  EXPECT_EQ(job_json(job).dump(), R"({"job":3,"kind":"refine","state":"waiting"})");
  job.state = "failed";
  job.error = "no";
  EXPECT_EQ(job_json(job)["error"], "no");
  job.error.clear();
  job.result = {{"vectors", 7}};
  EXPECT_EQ(job_json(job)["result"]["vectors"], 7);
}

TEST(ApiAnswers, NeighboursNameTheirHeads) {
  NodeAttention node;
  node.level = 1;
  node.links = {{0.5F, 7}};
  node.window = {{0.5F, 7}, {0.75F, 8}};
  node.heads = {{"content", 0.25F, {0.5F, 0.5F}}};
  EXPECT_EQ(json(neighbours_json(4, 0, 2, node)),
            json::parse(R"({"id": 4, "level": 1, "layers": 2, "layer": 0,
                            "links": [{"id": 7, "distance": 0.5}],
                            "window": [{"id": 7, "distance": 0.5}, {"id": 8, "distance": 0.75}],
                            "heads": [{"name": "content", "weight": 0.25,
                                       "attention": [0.5, 0.5]}]})"));
}

}  // namespace
}  // namespace halo::service
