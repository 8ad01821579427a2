#include "halo/integration/service/api_requests.h"

#include <gtest/gtest.h>

#include <string>

#include "support/test_support.h"

namespace halo::service {
namespace {

using std::chrono::milliseconds;

TEST(ApiRequests, ASearchHasItsDefaults) {
  const SearchRequest request = read_search(R"({"vector": [1, 2, 3]})", 3);
  EXPECT_EQ(request.queries.rows(), 1U);
  EXPECT_EQ(request.queries.cols(), 3U);
  EXPECT_FALSE(request.id);
  EXPECT_TRUE(request.single);
  EXPECT_EQ(request.options.k, 10U);
  EXPECT_EQ(request.options.ef, 64U);
  EXPECT_EQ(request.options.candidates, 400U);
  EXPECT_EQ(request.options.refine, RefineMode::kOff);
  EXPECT_FALSE(request.options.explain);
  EXPECT_FALSE(request.with_metadata);
  EXPECT_TRUE(request.filter.empty());
  EXPECT_EQ(request.time, kDefaultDeadline);
}

TEST(ApiRequests, ASearchTakesWhatItIsGiven) {
  const SearchRequest request = read_search(
      R"({"vectors": [[1, 2], [3, 4], [5, 6]], "k": 500, "ef": 7, "refine": "trained",
          "explain": true, "with_metadata": true, "deadline_ms": 25, "filter": {"kind": "boot"}})",
      2);
  EXPECT_EQ(request.queries.rows(), 3U);
  EXPECT_EQ(request.queries.row(2)[1], 6.0F);
  EXPECT_FALSE(request.single);
  EXPECT_EQ(request.options.k, 500U);
  EXPECT_EQ(request.options.candidates, 500U) << "at least k";
  EXPECT_EQ(request.options.refine, RefineMode::kTrained);
  EXPECT_TRUE(request.options.explain);
  EXPECT_TRUE(request.with_metadata);
  EXPECT_EQ(request.time, milliseconds(25));
  EXPECT_FALSE(request.filter.empty());
  EXPECT_EQ(read_search(R"({"id": 9})", 2).id, Id{9});
}

TEST(ApiRequests, OneQueryAndNoMore) {
  for (const char* body :
       {"{}", R"({"id": 1, "vector": [1, 2]})", R"({"vector": [1, 2], "vectors": [[1, 2]]})",
        R"({"vector": [[1, 2]]})", R"({"vectors": [1, 2]})"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "\"vector", [&] { read_search(body, 2); });
  }
}

TEST(ApiRequests, ItemsKeepTheirParts) {
  const auto items = read_items(
      R"({"items": [{"id": 3, "vector": [1, 2]}, {"id": 4, "metadata": {"a": 1}},
                    {"id": 5, "vector_base64": "AACAPwAAAMA="}]})");
  ASSERT_EQ(items.size(), 3U);
  EXPECT_EQ(items[0].vector, (std::vector<float>{1, 2}));
  EXPECT_FALSE(items[0].metadata);
  EXPECT_TRUE(items[1].vector.empty());
  EXPECT_EQ(items[1].metadata->at("a"), 1);
  EXPECT_EQ(items[2].vector, (std::vector<float>{1, -2}));
  std::string many = R"({"items": [)";
  for (int i = 0; i < 4097; ++i) many += (i == 0 ? "" : ",") + std::string(R"({"id":1})");
  test::expect_error(ErrorCode::kInvalidArgument, "4097", [&] { read_items(many + "]}"); });
}

TEST(ApiRequests, TrainingIsOnAFieldOrOnJudgements) {
  EXPECT_EQ(read_train(R"({"label_field": "kind", "epochs": 3})", 2).label_field, "kind");
  const TrainRequest judged = read_train(
      R"({"queries": [[1, 2], [3, 4]], "judgements": [{"query": 1, "id": 8, "grade": 2}]})", 2);
  EXPECT_FALSE(judged.label_field);
  EXPECT_EQ(judged.queries.rows(), 2U);
  ASSERT_EQ(judged.judgements.size(), 1U);
  EXPECT_EQ(judged.judgements[0].query, 1U);
  EXPECT_EQ(judged.judgements[0].id, 8);
  EXPECT_EQ(judged.judgements[0].grade, 2);
  for (const char* body : {"{}", R"({"queries": [[1, 2]]})", R"({"judgements": []})",
                           R"({"label_field": "a", "queries": [[1, 2]]})",
                           R"({"label_field": "a", "queries": [[1, 2]], "judgements": []})",
                           R"({"queries": [[1, 2]], "judgements": [{"query": 1, "id": 8}]})",
                           R"({"label_field": "a", "validation_fraction": 2})"}) {
    test::expect_error(ErrorCode::kInvalidArgument, "", [&] { read_train(body, 2); });
  }
}

TEST(ApiRequests, WholeNumbersAreNothingElse) {
  EXPECT_EQ(whole_number("0"), 0);
  EXPECT_EQ(whole_number("9223372036854775807"), std::numeric_limits<std::int64_t>::max());
  for (const char* text :
       {"", "-1", "+1", "1 ", " 1", "1.0", "1e3", "9223372036854775808", "0x1"}) {
    EXPECT_FALSE(whole_number(text)) << text;
  }
}

}  // namespace
}  // namespace halo::service
