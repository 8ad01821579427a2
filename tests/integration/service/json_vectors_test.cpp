#include "halo/integration/service/json_vectors.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <string>

#include "halo/core/random.h"
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

// Long and short, near the limits of what is read without the general way.
TEST(JsonVectors, ReadsTheNearestFloat) {
  std::vector<std::string> numbers = {
      "0",        "-0",        "16777216",     "16777217",
      "16777219", "167772160", "0.16777216",   "0.16777217",
      "0.1",      "-0.3",      "0.0000000001", "0.00000000001",
      "1e3",      "1.5E-3",    "123456.789",   "99999999999999999999"};
  Random draw(7);
  for (int i = 0; i < 20000; ++i) {
    const std::size_t before = draw.below(6), after = draw.below(12);
    std::string number = draw.below(2) == 0 ? "" : "-";
    number += before == 0 ? "0" : std::to_string(1 + draw.below(9));
    for (std::size_t d = 1; d < before; ++d) number += static_cast<char>('0' + draw.below(10));
    if (after != 0) number += '.';
    for (std::size_t d = 0; d < after; ++d) number += static_cast<char>('0' + draw.below(10));
    numbers.push_back(number);
  }
  for (const std::string& number : numbers) {
    const auto body = parse_body("{\"vector\":[" + number + "]}", kNames);
    const float expected = std::strtof(number.c_str(), nullptr);
    EXPECT_EQ(body.vectors[0].values, std::vector<float>{expected}) << number;
    EXPECT_EQ(std::signbit(body.vectors[0].values[0]), std::signbit(expected)) << number;
  }
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
                           "{\"vector\":[5.]}",
                           "{\"vector\":[5.e1]}",
                           "{\"vector\":[1.2.3]}",
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
