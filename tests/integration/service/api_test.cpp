#include "halo/integration/service/api.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>

#include "integration/service/service_fixture.h"

namespace halo::service {
namespace {

using nlohmann::json;

class ApiTest : public ServiceTest {};

TEST_F(ApiTest, LifeOfACollection) {
  fill();
  EXPECT_EQ(fine("GET", "/collections")["collections"][0]["name"], "c");
  const json stats = fine("GET", "/collections/c");
  EXPECT_EQ(stats["vectors"], 250);
  EXPECT_EQ(stats["metric"], "cosine");
  const json found =
      fine("POST", "/collections/c/search",
           {{"vector", vector_json(vectors_, 7)}, {"k", 3}, {"with_metadata", true}});
  ASSERT_EQ(found["results"].size(), 3U);
  EXPECT_EQ(found["results"][0]["id"], 7);
  EXPECT_EQ(found["results"][0]["metadata"]["row"], 7);
  EXPECT_EQ(found["partial"], false);
  EXPECT_EQ(fine("POST", "/collections/c/search", {{"id", 7}, {"k", 3}})["results"][0]["id"], 7);
  EXPECT_EQ(fine("GET", "/collections/c/items/7")["metadata"]["row"], 7);
  EXPECT_EQ(fine("GET", "/collections/c/items/7?vector=1")["vector"].size(), kDim);
  const json list = fine("GET", "/collections/c/items?limit=4");
  EXPECT_EQ(list["items"].size(), 4U);
  EXPECT_EQ(list["last"], 3);
  EXPECT_EQ(fine("GET", "/collections/c/items?from=249")["items"].size(), 1U);
  fine("DELETE", "/collections/c/items/7");
  refused(call("DELETE", "/collections/c/items/7"), 404, "unknown_id");
  refused(call("GET", "/collections/c/items/7"), 404, "unknown_id");
  EXPECT_EQ(fine("POST", "/collections/c/items/delete", {{"ids", {7, 8, 9}}})["removed"], 2);
  EXPECT_EQ(fine("GET", "/collections/c")["vectors"], 247);
  fine("DELETE", "/collections/c");
  refused(call("GET", "/collections/c"), 404, "not_found");
}

TEST_F(ApiTest, FiltersAndBatches) {
  fill();
  const json filter = {{"kind", "k1"}, {"row", {{"gte", 100}, {"lt", 200}}}};
  for (int settled = 0; settled < 2; ++settled) {
    const json found = fine("POST", "/collections/c/search",
                            {{"vectors", {vector_json(vectors_, 1), vector_json(vectors_, 100)}},
                             {"k", 40},
                             {"filter", filter}});
    ASSERT_EQ(found["queries"].size(), 2U);
    for (const json& query : found["queries"]) {
      EXPECT_EQ(query["results"].size(), 34U) << "100, 103, ..., 199";
      for (const json& result : query["results"]) {
        const int id = result["id"];
        EXPECT_TRUE(id % 3 == 1 && id >= 100 && id < 200) << id;
      }
    }
    finished(fine("POST", "/collections/c/settle", nullptr, 202));
  }
}

TEST_F(ApiTest, RefinesExplainsAndShowsAttention) {
  fill();
  refused(call("POST", "/collections/c/search", R"({"id": 1, "refine": "auto"})"), 409,
          "not_prepared", "refined");
  json samples = json::array();
  for (std::size_t i = 0; i < 60; ++i) samples.push_back(vector_json(vectors_, i));
  const json job =
      finished(fine("POST", "/collections/c/refine", {{"sample_queries", samples}}, 202));
  EXPECT_EQ(job["state"], "done") << job;
  EXPECT_EQ(job["result"]["sample_queries"], 60);
  EXPECT_TRUE(job["result"]["gate"].is_number());
  const json found = fine("POST", "/collections/c/search",
                          {{"id", 5},
                           {"k", 5},
                           {"refine", "auto"},
                           {"candidates", 50},
                           {"explain", true},
                           {"with_metadata", true}});
  ASSERT_EQ(found["results"].size(), 5U);
  ASSERT_EQ(found["plain"].size(), 5U);
  EXPECT_EQ(found["plain"][0]["id"], 5);
  for (const json& result : found["results"]) {
    EXPECT_TRUE(result["distance"].is_number());
    EXPECT_TRUE(result["plain_rank"].is_number());
  }
  EXPECT_TRUE(found["gate"].is_number());
  EXPECT_GT(found["timings_ms"]["refine"], 0.0);
  const json near = fine("GET", "/collections/c/items/5/neighbours");
  EXPECT_FALSE(near["links"].empty());
  ASSERT_FALSE(near["heads"].empty());
  EXPECT_EQ(near["heads"][0]["attention"].size(), near["window"].size());
  // Without samples of its own a collection calibrates on the queries it has seen.
  for (int i = 0; i < 50; ++i) {
    fine("POST", "/collections/c/search", {{"id", i}, {"refine", "auto"}, {"candidates", 50}});
  }
  EXPECT_EQ(
      finished(fine("POST", "/collections/c/refine", nullptr, 202))["result"]["sample_queries"],
      51);
}

TEST_F(ApiTest, TrainsOnAMetadataField) {
  fill(300);
  const json job =
      finished(fine("POST", "/collections/c/train", {{"label_field", "kind"}, {"epochs", 2}}, 202));
  EXPECT_EQ(job["state"], "done") << job;
  const bool accepted = job["result"]["accepted"];
  EXPECT_EQ(fine("GET", "/collections/c")["trained"], accepted);
  const ApiResponse trained =
      call("POST", "/collections/c/search", R"({"id": 1, "refine": "trained"})");
  EXPECT_EQ(trained.status, accepted ? 200 : 409) << trained.body;
  EXPECT_EQ(finished(fine("POST", "/collections/c/train", {{"label_field", "none"}}, 202))["state"],
            "failed");
}

TEST_F(ApiTest, ADeadlineMarksWhatIsMissing) {
  fill();
  const json found =
      fine("POST", "/collections/c/search",
           {{"vectors", {vector_json(vectors_, 1), vector_json(vectors_, 2)}}, {"deadline_ms", 0}});
  EXPECT_EQ(found["partial"], true);
  EXPECT_EQ(found["queries"][1]["answer"], "none");
  EXPECT_TRUE(found["queries"][1]["results"].empty());
}

TEST_F(ApiTest, FiftyTraversalNamesAreRefused) {
  const std::vector<std::string> names = hostile_names();
  ASSERT_GE(names.size(), 50U);
  const auto before = catalog_.names();
  for (const std::string& name : names) {
    for (const char* method : {"PUT", "GET", "DELETE"}) {
      const ApiResponse response =
          call(method, "/collections/" + name, method[0] == 'P' ? R"({"dim": 3})" : "");
      EXPECT_GE(response.status, 400) << method << " " << name;
      EXPECT_LT(response.status, 500) << method << " " << name;
      EXPECT_FALSE(json::parse(response.body)["error"]["message"].get<std::string>().empty());
    }
  }
  EXPECT_EQ(catalog_.names(), before);
}

TEST_F(ApiTest, WhatIsWrongIsSaid) {
  fill(20);
  const std::string search = "/collections/c/search";
  refused(call("POST", search, "{"), 400, "invalid_argument", "JSON");
  refused(call("POST", search, "[1]"), 400, "invalid_argument", "object");
  refused(call("POST", search, R"({"vector": [1,2,3]})"), 400, "dimension_mismatch", "dimension 8");
  refused(call("POST", search, R"({"vector": [1,2,3,4,5,6,7,NaN]})"), 400, "invalid_argument",
          "no number");
  refused(call("POST", search, R"({"vector": [1,2,3,4,5,6,7,1e39]})"), 400, "invalid_argument",
          "too large");
  refused(
      call("POST", search, R"({"vector_base64": "AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8="})"),
      400, "non_finite");
  refused(call("POST", search, R"({"vector": [0,0,0,0,0,0,0,0]})"), 400, "zero_vector");
  refused(call("POST", search, "{}"), 400, "invalid_argument", "needed");
  refused(call("POST", search, R"({"id": 1, "k": 1001})"), 400, "invalid_argument", "1000");
  refused(call("POST", search, R"({"id": 1, "k": 0})"), 400, "invalid_argument", "\"k\"");
  refused(call("POST", search, R"({"id": 1, "k": -1})"), 400, "invalid_argument", "\"k\"");
  refused(call("POST", search, R"({"id": 1, "k": 1.5})"), 400, "invalid_argument", "\"k\"");
  refused(call("POST", search, R"({"id": 1, "ef": 4097})"), 400, "invalid_argument", "4096");
  refused(call("POST", search, R"({"id": 1, "refine": "yes"})"), 400, "invalid_argument", "off");
  refused(call("POST", search, R"({"id": 1, "kk": 3})"), 400, "invalid_argument", "kk");
  refused(call("POST", search, R"({"id": 1, "filter": 3})"), 400, "invalid_argument", "filter");
  refused(call("POST", search, R"({"id": 99})"), 404, "unknown_id", "99");
  json many = json::array();
  for (int i = 0; i < 257; ++i) many.push_back(vector_json(vectors_, 0));
  refused(call("POST", search, json{{"vectors", many}}.dump()), 400, "invalid_argument", "256");
  const std::string items = "/collections/c/items";
  refused(call("POST", items, R"({"items": [{"id": -1, "vector": [1]}]})"), 400,
          "invalid_argument");
  refused(call("POST", items, R"({"items": [{"id": 1e3, "vector": [1]}]})"), 400,
          "invalid_argument");
  refused(call("POST", items, R"({"items": [{"id": 1, "vector": [1,2]}]})"), 400,
          "dimension_mismatch");
  refused(call("POST", items, R"({"items": [{"id": 1, "vector": ["x"]}]})"), 400,
          "invalid_argument");
  refused(call("POST", items, R"({"items": [{"id": 1, "metadata": 3}]})"), 400, "invalid_argument");
  refused(call("POST", items, R"({"items": []})"), 400, "invalid_argument");
  refused(call("POST", items, R"({"items": [{"id": 77, "metadata": {}}]})"), 404, "unknown_id");
  refused(call("PUT", "/collections/c", R"({"dim": 3})"), 409, "duplicate_id");
  refused(call("PUT", "/collections/d", R"({"dim": 0})"), 400, "invalid_argument");
  refused(call("PUT", "/collections/d", R"({"dim": 3, "metric": "cos"})"), 400, "invalid_argument");
  refused(call("GET", "/collections/c/items/abc"), 400, "invalid_argument");
  refused(call("GET", "/collections/c/items/\xff"), 400, "invalid_argument");
  refused(call("GET", "/nothing"), 404, "not_found");
  refused(call("POST", "/collections/c/nothing"), 404, "not_found");
  refused(call("PATCH", "/collections/c/items"), 405, "method");
  EXPECT_EQ(fine("GET", "/collections/c")["vectors"], 20) << "nothing has changed";
}

// Each route that takes a body says of a malformed one that it is no JSON, and where.
TEST_F(ApiTest, MalformedJsonIsRefusedEverywhere) {
  fill(20);
  const std::vector<std::string> bodies = {"{",
                                           "}",
                                           "[",
                                           "[]",
                                           "null",
                                           "3",
                                           "\"x\"",
                                           "{]",
                                           "{\"a\"}",
                                           "{\"a\":}",
                                           "{\"a\":1,}",
                                           "{a:1}",
                                           "{'a':1}",
                                           "{\"a\":tru}",
                                           "{\"a\":01}",
                                           "{\"a\":+1}",
                                           "{\"a\":.5}",
                                           "{\"a\":NaN}",
                                           "{\"a\":-}",
                                           "{\"a\":1}}",
                                           "{\"a\":1} x",
                                           "{\"a\":\"x}",
                                           "{\"a\":\"\\x\"}",
                                           "{\"a\" 1}",
                                           "\xff\xfe{}",
                                           "{\"\xff\":1}",
                                           "<a/>",
                                           std::string("{\"a\":1}\0", 8),
                                           "{\"a\":\"\n\"}",
                                           std::string(100'000, '[')};
  for (const char* path : {"/search", "/items", "/items/delete", "/refine", "/train"}) {
    for (const std::string& body : bodies) {
      refused(call("POST", std::string("/collections/c") + path, body), 400, "invalid_argument",
              "JSON");
    }
  }
  for (const std::string& body : bodies) {
    refused(call("PUT", "/collections/d", body), 400, "invalid_argument", "JSON");
  }
  EXPECT_EQ(fine("GET", "/collections/c")["vectors"], 20) << "nothing has changed";
}

// Wrong lengths, and numbers that are none, wherever a vector is taken.
TEST_F(ApiTest, WrongVectorsAreRefusedEverywhere) {
  fill(20);
  const auto all = [&](const std::string& vector, const std::string& code) {
    const auto post = [&](const std::string& path, const std::string& body) {
      refused(call("POST", "/collections/c/" + path, body), 400, code);
    };
    post("search", "{\"vector\":" + vector + "}");
    post("search", "{\"vectors\":[" + vector + "]}");
    post("items", "{\"items\":[{\"id\":7,\"vector\":" + vector + "}]}");
    post("refine", "{\"sample_queries\":[" + vector + "]}");
    post("train", "{\"queries\":[" + vector + "],\"judgements\":[{\"query\":0,\"id\":1}]}");
  };
  for (const char* vector : {"[]", "[1]", "[1,2,3,4,5,6,7]", "[1,2,3,4,5,6,7,8,9]"}) {
    all(vector, "dimension_mismatch");
  }
  for (const char* number : {"NaN", "nan", "Infinity", "-Infinity", "inf", "\"1\"", "null", "true",
                             "[1]", "{}", "1e", "0x10", "--1", "1,,"}) {
    all("[1,2,3,4,5,6,7," + std::string(number) + "]", "invalid_argument");
  }
  all("[0,0,0,0,0,0,0,0]", "zero_vector");
  // The same in base64: seven numbers, nine, and not-a-number.
  for (const auto& [text, code] : {std::pair{std::string(38, 'A') + "==", "dimension_mismatch"},
                                   {std::string(48, 'A'), "dimension_mismatch"},
                                   {"AADAfwAAwH8AAMB/AADAfwAAwH8AAMB/AADAfwAAwH8=", "non_finite"},
                                   {"####", "invalid_argument"}}) {
    refused(call("POST", "/collections/c/search", json{{"vector_base64", text}}.dump()), 400, code);
    refused(call("POST", "/collections/c/items",
                 json{{"items", {{{"id", 7}, {"vector_base64", text}}}}}.dump()),
            400, code);
  }
  // 1e39 is a number, but no float.
  refused(call("POST", "/collections/c/items",
               R"({"items": [{"id": 7, "vector": [1,2,3,4,5,6,7,1e39]}]})"),
          400, "non_finite");
  EXPECT_EQ(fine("GET", "/collections/c/items/7?vector=1")["vector"].size(), kDim);
  EXPECT_EQ(fine("GET", "/collections/c")["unsettled"], 20) << "nothing has changed";
}

TEST_F(ApiTest, ProbesMetricsAndDocuments) {
  fill(20);
  EXPECT_EQ(call("GET", "/livez").status, 200);
  EXPECT_EQ(call("GET", "/readyz").status, 200);
  api_.set_ready(false);
  EXPECT_EQ(call("GET", "/livez").status, 200);
  EXPECT_EQ(call("GET", "/readyz").status, 503);
  refused(call("GET", "/collections/c"), 503, "not_ready");
  api_.set_ready(true);
  const ApiResponse metrics = call("GET", "/metrics");
  EXPECT_THAT(metrics.type, testing::HasSubstr("text/plain"));
  EXPECT_THAT(metrics.body, testing::HasSubstr("halo_vectors{collection=\"c\"} 20\n"));
  EXPECT_THAT(metrics.body, testing::HasSubstr("halo_writes_total{collection=\"c\"} 1\n"));
  const ApiResponse page = call("GET", "/");
  EXPECT_THAT(page.type, testing::HasSubstr("text/html"));
  EXPECT_THAT(page.body, testing::HasSubstr("halo"));
  // Every path of the document is there, and says so with another status than 404 "nothing".
  const json document = fine("GET", "/openapi.json");
  for (auto& [path, operations] : document["paths"].items()) {
    std::string real = path;
    for (const auto& [from, to] :
         {std::pair<std::string, std::string>{"{name}", "c"}, {"{id}", "1"}, {"{job}", "1"}}) {
      if (const auto at = real.find(from); at != std::string::npos)
        real.replace(at, from.size(), to);
    }
    for (auto& [method, operation] : operations.items()) {
      if (method == "delete") continue;
      std::string name = method;
      for (char& c : name) c = static_cast<char>(std::toupper(c));
      EXPECT_THAT(call(name, real).body, testing::Not(testing::HasSubstr("nothing at this path")))
          << name << " " << real;
      EXPECT_NE(call(name, real).status, 405) << name << " " << real;
    }
  }
}

class TokenTest : public ServiceTest {
 protected:
  static ApiOptions tokens() {
    ApiOptions options;
    options.read_token = "read-token-0123456789";
    options.admin_token = "admin-token-0123456789";
    return options;
  }
  TokenTest() : ServiceTest(tokens()) {}
};

TEST_F(TokenTest, ReadersReadAndAdminsDoEverything) {
  const std::string read = tokens().read_token, admin = tokens().admin_token;
  refused(call("PUT", "/collections/c", R"({"dim": 3})"), 401, "unauthorized");
  refused(call("PUT", "/collections/c", R"({"dim": 3})", "wrong"), 401, "unauthorized");
  refused(call("PUT", "/collections/c", R"({"dim": 3})", read), 403, "forbidden");
  EXPECT_EQ(call("PUT", "/collections/c", R"({"dim": 3})", admin).status, 201);
  refused(call("GET", "/collections"), 401, "unauthorized");
  refused(call("GET", "/collections/there-is-none"), 401, "unauthorized");
  refused(call("GET", "/metrics"), 401, "unauthorized");
  for (const std::string& token : {read, admin}) {
    EXPECT_EQ(call("GET", "/collections", "", token).status, 200);
    EXPECT_EQ(call("POST", "/collections/c/search", R"({"vector": [1,2,3]})", token).status, 200);
  }
  refused(call("POST", "/collections/c/items", R"({"items": []})", read), 403, "forbidden");
  refused(call("DELETE", "/collections/c", "", read), 403, "forbidden");
  EXPECT_EQ(call("GET", "/livez").status, 200);
  EXPECT_EQ(call("GET", "/readyz").status, 200);
}

TEST(Tokens, AreComparedWhole) {
  EXPECT_TRUE(equal_in_constant_time("abc", "abc"));
  for (const char* other : {"", "a", "ab", "abd", "abcabc", "xbc"}) {
    EXPECT_FALSE(equal_in_constant_time(other, "abc"));
    EXPECT_FALSE(equal_in_constant_time("abc", other));
  }
}

class LocalTest : public ServiceTest {
 protected:
  static ApiOptions local() {
    ApiOptions options;
    options.hosts = {"localhost", "127.0.0.1"};
    return options;
  }
  LocalTest() : ServiceTest(local()) {}
};

TEST_F(LocalTest, AnswersToItsOwnNameOnly) {
  ApiRequest request;
  request.method = "GET";
  request.path = "/collections";
  for (const char* host : {"localhost", "localhost:8080", "127.0.0.1:80"}) {
    request.host = host;
    EXPECT_EQ(api_.handle(request).status, 200) << host;
  }
  for (const char* host : {"", "evil.example", "localhost.evil.example:80"}) {
    request.host = host;
    EXPECT_EQ(api_.handle(request).status, 403) << host;
  }
}

}  // namespace
}  // namespace halo::service
