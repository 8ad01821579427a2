// HTTP/1.1 for the API, on cpp-httplib.
//
// A connection has a thread of its own, which sleeps while it is idle or slow; what computes is
// bounded by the API's slots. A request's headers and body must arrive within a time each, so that
// a slow client holds its own thread and nothing else.
//
// Thread-safety: listen() runs on one thread; stop() may be called from any.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>

#include "halo/integration/service/api.h"

namespace halo::service {

struct HttpOptions {
  std::string host = "127.0.0.1";
  int port = 0;  ///< 0: any free one
  std::size_t max_connections = 1024;
  std::chrono::milliseconds read_timeout{5000};    ///< between two bytes of a request
  std::chrono::milliseconds request_time{30'000};  ///< from its first byte to its last
  std::chrono::milliseconds idle_time{60'000};     ///< between two requests
};

class HttpServer {
 public:
  /// Binds; throws kIo where the address cannot be bound.
  HttpServer(Api& api, const HttpOptions& options);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  int port() const;
  /// Answers until stop(), called once; returns when the last connection has ended.
  void listen();
  /// Takes no new connection, ends idle ones, and lets requests in progress finish, for at most
  /// this long; then connections are cut.
  void stop(std::chrono::milliseconds drain);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo::service
