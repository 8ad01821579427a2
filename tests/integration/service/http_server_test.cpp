#include "halo/integration/service/http_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "integration/service/http_client.h"
#include "integration/service/service_fixture.h"

namespace halo::service {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;

class HttpServerTest : public ServiceTest {
 protected:
  static ApiOptions small_bodies() {
    ApiOptions options;
    options.max_body = std::size_t{1} << 20U;
    return options;
  }
  HttpServerTest() : ServiceTest(small_bodies()) {}
  ~HttpServerTest() override { stop(); }

  int start(const HttpOptions& options = {}) {
    server_ = std::make_unique<HttpServer>(api_, options);
    thread_ = std::thread([this] { server_->listen(); });
    // The socket listens already: connections wait for the thread.
    return server_->port();
  }
  void stop() {
    if (!thread_.joinable()) return;
    server_->stop(std::chrono::seconds(20));
    thread_.join();
  }

  std::unique_ptr<HttpServer> server_;
  std::thread thread_;
};

TEST_F(HttpServerTest, AnswersManyRequestsOnAConnection) {
  const int port = start();
  HttpClient client(port);
  EXPECT_EQ(client.put("/collections/c", {{"dim", kDim}, {"metric", "cosine"}}).status, 201);
  EXPECT_EQ(client.post("/collections/c/items", items_json(vectors_, 0, 100)).status, 200);
  for (std::size_t i = 0; i < 50; ++i) {
    const HttpAnswer answer =
        client.post("/collections/c/search", {{"vector", vector_json(vectors_, i)}, {"k", 1}});
    ASSERT_EQ(answer.status, 200) << answer.body;
    EXPECT_EQ(answer.json()["results"][0]["id"], i);
  }
  EXPECT_EQ(client.get("/collections/c/items?from=99&limit=5").json()["items"].size(), 1U);
  EXPECT_EQ(client.request("DELETE", "/collections/c/items/5").status, 200);
  EXPECT_EQ(client.get("/collections/c").json()["vectors"], 99);
  const HttpAnswer page = client.get("/");
  EXPECT_THAT(page.head, testing::HasSubstr("text/html"));
  EXPECT_THAT(page.head, testing::HasSubstr("nosniff"));
}

TEST_F(HttpServerTest, RefusesWhatIsTooLargeOrNoRequest) {
  const int port = start();
  fill(10);
  const std::string large(2U << 20U, ' ');
  {  // said to be too large: refused before it is read
    HttpClient client(port);
    ASSERT_TRUE(
        client.send("POST /collections/c/search HTTP/1.1\r\nHost: localhost\r\n"
                    "Content-Length: 99999999999\r\n\r\n{"));
    const HttpAnswer answer = client.receive();
    EXPECT_EQ(answer.status, 413);
    EXPECT_EQ(answer.error(), "too_large");
  }
  {  // and sent
    const HttpAnswer answer = HttpClient(port).request("POST", "/collections/c/search", large);
    EXPECT_EQ(answer.status, 413);
  }
  {  // and in pieces, without its length
    HttpClient client(port);
    client.send(
        "POST /collections/c/search HTTP/1.1\r\nHost: localhost\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 2; ++i) {
      client.send("100000\r\n" + large.substr(0, 0x100000) + "\r\n");
    }
    EXPECT_EQ(client.receive().status, 413);
  }
  for (const char* text : {"nonsense\r\n\r\n", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "\r\n\r\n",
                           "BREW / HTTP/1.1\r\n\r\n"}) {
    HttpClient client(port);
    client.send(text);
    const HttpAnswer answer = client.receive();
    EXPECT_GE(answer.status, 400) << text;
    EXPECT_LT(answer.status, 500) << text;
    EXPECT_NE(answer.error(), "") << text;
  }
  {
    HttpClient client(port);
    const HttpAnswer answer = client.request("GET", "/" + std::string(9000, 'a'));
    EXPECT_EQ(answer.status, 414);
  }
  HttpClient client(port);
  EXPECT_EQ(client
                .request("POST", "/collections/c/search", "--x\r\n\r\n--x--",
                         "Content-Type: multipart/form-data; boundary=x\r\n")
                .status,
            415);
}

TEST_F(HttpServerTest, RefusesNamesThatArePaths) {
  const int port = start();
  fill(10);
  std::vector<std::string> paths = {"/..%2f..%2fetc", "/../../etc/passwd", "/collections/../../etc",
                                    "/collections/c/../../../etc/passwd", "/collections/c%00"};
  for (const std::string& name : hostile_names()) {  // as a browser would send them
    std::string path = "/collections/";
    for (const char c : name) {
      char text[4];
      std::snprintf(text, sizeof(text), "%%%02X", static_cast<unsigned char>(c));
      path += text;
    }
    paths.push_back(path);
  }
  ASSERT_GE(paths.size(), 50U);
  for (const std::string& path : paths) {
    for (const char* method : {"GET", "PUT", "DELETE"}) {
      const HttpAnswer answer =
          HttpClient(port).request(method, path, method[0] == 'P' ? R"({"dim": 3})" : "");
      EXPECT_GE(answer.status, 400) << method << " " << path;
      EXPECT_LT(answer.status, 500) << method << " " << path;
      EXPECT_NE(answer.error(), "") << method << " " << path;
    }
  }
  EXPECT_EQ(catalog_.names(), std::vector<std::string>{"c"});
}

TEST_F(HttpServerTest, ABodyThatNobodyReadIsNoRequest) {
  const int port = start();
  HttpClient client(port);
  client.send(
      "GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 40\r\n\r\n"
      "GET /collections HTTP/1.1\r\nHost: a\r\n\r\n");
  EXPECT_EQ(client.receive().status, 200);
  EXPECT_EQ(client.receive(std::chrono::seconds(20)).status, 0) << "the connection ends";
}

TEST_F(HttpServerTest, SlowConnectionsHoldUpNobody) {
  const int port = start();
  fill(100);
  std::vector<std::unique_ptr<HttpClient>> slow;
  for (int i = 0; i < 200; ++i) {
    slow.push_back(std::make_unique<HttpClient>(port));
    ASSERT_TRUE(slow.back()->connected());
    if (i % 2 == 0) slow.back()->send("POST /collections/c/search HTTP/1.1\r\nHost: loc");
  }
  HttpClient client(port);
  for (std::size_t i = 0; i < 100; ++i) {
    EXPECT_EQ(client.post("/collections/c/search", {{"id", i}}).status, 200);
  }
  EXPECT_THAT(client.get("/metrics").body, testing::HasSubstr("halo_connections 201\n"));
}

TEST_F(HttpServerTest, LimitsConnections) {
  HttpOptions options;
  options.max_connections = 3;
  const int port = start(options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(port));
    EXPECT_EQ(clients.back()->get("/livez").status, 200);
  }
  HttpClient one_more(port);
  EXPECT_EQ(one_more.receive().status, 503);
  clients.clear();
  // The places are free once the server has seen the ends.
  int status = 0;
  while (status != 200) status = HttpClient(port).get("/livez").status;
}

TEST_F(HttpServerTest, EndsRequestsThatDoNotArrive) {
  HttpOptions options;
  options.read_timeout = milliseconds(50);
  options.request_time = milliseconds(200);
  const int port = start(options);
  HttpClient half(port);
  half.send("POST /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n12");
  const HttpAnswer answer = half.receive();
  EXPECT_EQ(answer.status, 408);
  HttpClient headless(port);
  headless.send("POST /livez HTT");
  const int status = headless.receive().status;
  EXPECT_TRUE(status == 0 || status == 400 || status == 408) << status;
}

TEST_F(HttpServerTest, StoppingEndsIdleConnections) {
  const int port = start();
  HttpClient idle(port);
  EXPECT_EQ(idle.get("/livez").status, 200);
  server_->stop(std::chrono::seconds(20));
  thread_.join();
  EXPECT_EQ(idle.receive(std::chrono::seconds(5)).status, 0);
  EXPECT_FALSE(HttpClient(port).connected());
}

TEST_F(HttpServerTest, SaysWhenThePortIsTaken) {
  HttpOptions options;
  options.host = "256.1.1.1";
  test::expect_error(ErrorCode::kIo, "256.1.1.1", [&] { HttpServer server(api_, options); });
}

}  // namespace
}  // namespace halo::service
