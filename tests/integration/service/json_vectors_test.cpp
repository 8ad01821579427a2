#include "halo/integration/service/json_vectors.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo::service {
namespace {

const std::vector<std::string_view> kNames = {"vector", "vectors"};

TEST(JsonVectors, TakesArraysOutAndLeavesTheRest) {
  const auto body = parse_body(
      R"({"k": 3, "vector" : [1, -2.5, 3e2 , 0], "filter": {"vector": [1, "]"], "a\"": "}"}})",
      kNames);
  ASSERT_TRUE(body.vectors[0].given);
  EXPECT_FALSE(body.vectors[0].nested);
  EXPECT_EQ(body.vectors[0].values, (std::vector<float>{1, -2.5, 300, 0}));
  EXPECT_FALSE(body.vectors[1].given);
  EXPECT_EQ(body.rest, nlohmann::json::parse(R"({"k":3,"filter":{"vector":[1,"]"],"a\"":"}"}})"));
}

TEST(JsonVectors, ReadsRowsOfEqualLength) {
  const auto body = parse_body(R"({"vectors":[[1,2,3],[4,5,6]]})", kNames);
  EXPECT_TRUE(body.vectors[1].nested);
  EXPECT_EQ(body.vectors[1].rows, 2U);
  EXPECT_EQ(body.vectors[1].cols, 3U);
  EXPECT_EQ(body.vectors[1].values, (std::vector<float>{1, 2, 3, 4, 5, 6}));
}

TEST(JsonVectors, RefusesWhatIsNoSuchThing) {
  for (const char* text : {"",
                           "[]",
                           "null",
                           "{",
                           "{\"vector\":[1,2}",
                           "{\"vector\":[1,,2]}",
                           "{\"vector\":[NaN]}",
                           "{\"vector\":[nan]}",
                           "{\"vector\":[inf]}",
                           "{\"vector\":[Infinity]}",
                           "{\"vector\":[-inf]}",
                           "{\"vector\":[1e39]}",
                           "{\"vector\":[1e999]}",
                           "{\"vector\":[01]}",
                           "{\"vector\":[.5]}",
                           "{\"vector\":[+1]}",
                           "{\"vector\":[\"1\"]}",
                           "{\"vector\":[null]}",
                           "{\"vector\":[[1,2],[3]]}",
                           "{\"vector\":[[1],2]}",
                           "{\"vector\":1}",
                           "{\"vector\":{}}",
                           "{\"vector\":[1],\"vector\":[2]}",
                           "{\"vector\":[1]} x",
                           "{\"vector\":[1",
                           "{\"k\":1,}",
                           "{\"vector\":[1]",
                           "{\"a\\",
                           "{\"vector\":[-]}",
                           "{\"vector\":[0x1]}"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "", [&] { parse_body(text, kNames); });
  }
  // Too small is not wrong: it is zero.
  EXPECT_EQ(parse_body("{\"vector\":[1e-60]}", kNames).vectors[0].values[0], 0.0F);
}

TEST(JsonVectors, ReadsBase64) {
  EXPECT_EQ(floats_of_base64("AACAPwAAAMA="), (std::vector<float>{1.0F, -2.0F}));
  test::expect_error(ErrorCode::kInvalidArgument, "base64", [] { floats_of_base64("a*b="); });
  test::expect_error(ErrorCode::kInvalidArgument, "3 bytes", [] { floats_of_base64("AAAA"); });
}

}  // namespace
}  // namespace halo::service
