// A plain HTTP/1.1 client for tests: it sends exactly what it is told, also what is wrong.
#pragma once

#include <chrono>
#include <nlohmann/json.hpp>
#include <string>

namespace halo::service {

struct HttpAnswer {
  int status = 0;  ///< 0: none came
  std::string head, body;
  nlohmann::json json() const { return nlohmann::json::parse(body); }
  /// The error's code, "" without one.
  std::string error() const;
};

class HttpClient {
 public:
  explicit HttpClient(int port);
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  bool connected() const { return socket_ >= 0; }
  bool send(const std::string& bytes) const;
  /// The next answer on this connection.
  HttpAnswer receive(std::chrono::milliseconds time = std::chrono::seconds(60));
  HttpAnswer request(const std::string& method, const std::string& path,
                     const std::string& body = "", const std::string& headers = "");
  HttpAnswer get(const std::string& path) { return request("GET", path); }
  HttpAnswer post(const std::string& path, const nlohmann::json& body) {
    return request("POST", path, body.dump());
  }
  HttpAnswer put(const std::string& path, const nlohmann::json& body) {
    return request("PUT", path, body.dump());
  }

 private:
  int socket_ = -1;
  std::string buffer_;
};

}  // namespace halo::service
