// A catalog in a temporary folder with an API over it, for the tests of both.
#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "halo/integration/service/api.h"
#include "support/test_support.h"

namespace halo::service {

inline nlohmann::json vector_json(const Matrix& matrix, std::size_t row) {
  return std::vector<float>(matrix.row(row), matrix.row(row) + matrix.cols());
}

/// {"items": [...]} of the rows, id = row, metadata {"row": i, "kind": i % 3}.
inline nlohmann::json items_json(const Matrix& matrix, std::size_t first, std::size_t count) {
  nlohmann::json items = nlohmann::json::array();
  for (std::size_t i = first; i < first + count; ++i) {
    items.push_back({{"id", i},
                     {"vector", vector_json(matrix, i)},
                     {"metadata", {{"row", i}, {"kind", "k" + std::to_string(i % 3)}}}});
  }
  return {{"items", items}};
}

/// What a collection may not be called: paths, and what a shell or a file system would make of it.
inline std::vector<std::string> hostile_names() {
  std::vector<std::string> names = {"..",
                                    ".",
                                    "...",
                                    "../c",
                                    "..\\c",
                                    "/etc",
                                    "//c",
                                    "c/..",
                                    "c/../..",
                                    "~",
                                    "~root",
                                    "c.halo",
                                    "c ",
                                    " c",
                                    "c\t",
                                    "c\n",
                                    "c%2f",
                                    "%2e%2e",
                                    "..%2f..%2fetc",
                                    "c%00",
                                    "c;ls",
                                    "c|ls",
                                    "c&",
                                    "$HOME",
                                    "`id`",
                                    "c'",
                                    "c\"",
                                    "c<",
                                    "c>",
                                    "c*",
                                    "c^",
                                    "c[",
                                    "c{",
                                    "c:",
                                    "c,",
                                    "c@",
                                    "c#",
                                    "c!",
                                    "c+",
                                    "c=",
                                    "C:\\",
                                    "\\\\host\\share",
                                    "\xc3\xa4",
                                    "\xff\xfe",
                                    "\xe2\x80\xae",
                                    "con.",
                                    ".git",
                                    "lock.",
                                    ".making-c"};
  names.emplace_back(std::string("c\0d", 3));
  names.emplace_back(65, 'x');
  return names;
}

class ServiceTest : public testing::Test {
 protected:
  static constexpr std::size_t kDim = 8;

  explicit ServiceTest(const ApiOptions& options = {})
      : vectors_(test::clustered_matrix(300, kDim, 6, 1.0F, 5)),
        catalog_(folder_.path()),
        api_(catalog_, options) {
    api_.set_ready(true);
  }

  ApiResponse call(const std::string& method, const std::string& path, const std::string& body = "",
                   const std::string& token = "") {
    ApiRequest request;
    request.method = method;
    request.path = path.substr(0, path.find('?'));
    if (const auto at = path.find('?'); at != std::string::npos) {
      const std::string query = path.substr(at + 1);
      request.query[query.substr(0, query.find('='))] = query.substr(query.find('=') + 1);
    }
    request.body = body;
    request.host = "localhost:1";
    if (!token.empty()) request.authorization = "Bearer " + token;
    return api_.handle(request);
  }
  nlohmann::json fine(const std::string& method, const std::string& path,
                      const nlohmann::json& body = nullptr, int status = 200) {
    const ApiResponse response = call(method, path, body.is_null() ? "" : body.dump());
    EXPECT_EQ(response.status, status) << method << " " << path << ": " << response.body;
    return nlohmann::json::parse(response.body);
  }
  void refused(const ApiResponse& response, int status, const std::string& code,
               const std::string& text = "") {
    EXPECT_EQ(response.status, status) << response.body;
    const auto json = nlohmann::json::parse(response.body, nullptr, false);
    ASSERT_TRUE(json.is_object() && json.contains("error")) << response.body;
    EXPECT_EQ(json["error"]["code"], code) << response.body;
    EXPECT_NE(json["error"]["message"].get<std::string>().find(text), std::string::npos)
        << response.body;
  }
  /// A collection "c" of the first `count` vectors.
  void fill(std::size_t count = 250) {
    fine("PUT", "/collections/c", {{"dim", kDim}, {"metric", "cosine"}}, 201);
    fine("POST", "/collections/c/items", items_json(vectors_, 0, count));
  }
  nlohmann::json finished(const nlohmann::json& accepted) {
    const std::string path = "/collections/c/jobs/" + std::to_string(accepted["job"].get<int>());
    for (;;) {
      const nlohmann::json job = fine("GET", path);
      if (job["state"] == "done" || job["state"] == "failed") return job;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
  }

  Matrix vectors_;
  test::TemporaryFolder folder_;
  Catalog catalog_;
  Api api_;
};

}  // namespace halo::service
