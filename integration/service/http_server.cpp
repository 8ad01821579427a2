#include "halo/integration/service/http_server.h"

#include <httplib.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "halo/core/error.h"

namespace halo::service {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr std::size_t kReadBuffer = std::size_t{16} << 10U;
constexpr milliseconds kLinger{1000};  // for the rest of a request that was refused

// A connection's bytes, in and out, buffered: an answer leaves in one piece.
class Connection : public httplib::Stream {
 public:
  Connection(int socket, const HttpOptions& options)
      : socket_(socket), options_(options), in_(kReadBuffer) {
    const auto idle = options.idle_time.count();
    const timeval time = {static_cast<time_t>(idle / 1000),
                          static_cast<suseconds_t>(idle % 1000 * 1000)};
    setsockopt(socket, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time));
  }

  // True once the first byte of a request is there; false where none comes, or the server drains.
  // One system call: a poll before it would cost as much as the parsing of a request.
  bool await_request(const std::atomic<bool>& draining) {
    if (at_ == filled_) {
      idle_ = true;
      ssize_t got = -1;
      while (!draining && (got = recv(socket_, in_.data(), in_.size(), 0)) < 0 && errno == EINTR) {
      }
      idle_ = false;
      if (got <= 0) return false;
      at_ = 0;
      filled_ = static_cast<std::size_t>(got);
    }
    begun_ = Clock::now();
    return !draining;
  }
  // For another thread, once `draining` is set: ends the wait of await_request(). Where it finds
  // no wait, await_request() has seen `draining` or will.
  void wake_if_idle() {
    if (idle_) ::shutdown(socket_, SHUT_RD);
  }
  bool flush() {
    std::size_t sent = 0;
    while (sent < out_.size()) {
      const ssize_t done =
          ::send(socket_, out_.data() + sent, out_.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
      if (done > 0) {
        sent += static_cast<std::size_t>(done);
      } else if (done < 0 && errno == EINTR) {
        continue;
      } else if (done < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        if (!wait(POLLOUT, options_.read_timeout)) return false;
      } else {
        return false;
      }
    }
    out_.clear();
    return true;
  }
  void close_after_answer() { close_ = true; }
  bool closing() const { return close_; }

  bool is_readable() const override { return at_ < filled_ || wait(POLLIN, time_left()); }
  bool is_writable() const override { return true; }
  ssize_t read(char* to, size_t size) override {
    if (at_ == filled_ && !fill()) return -1;
    const std::size_t taken = std::min(size, filled_ - at_);
    std::copy_n(in_.data() + at_, taken, to);
    at_ += taken;
    return static_cast<ssize_t>(taken);
  }
  ssize_t write(const char* from, size_t size) override {
    out_.append(from, size);
    return static_cast<ssize_t>(size);
  }
  void get_remote_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();  // not looked up for every request: nobody asks
    port = 0;
  }
  void get_local_ip_and_port(std::string& ip, int& port) const override {
    ip.clear();
    port = 0;
  }
  socket_t socket() const override { return socket_; }

  // The connection whose request this thread is answering.
  static thread_local Connection* current;

 private:
  milliseconds time_left() const {
    const auto end = begun_ + options_.request_time;
    const auto left = std::chrono::duration_cast<milliseconds>(end - Clock::now());
    return std::clamp(left, milliseconds(0), options_.read_timeout);
  }
  bool wait(short what, milliseconds time) const {
    pollfd waiting = {socket_, what, 0};
    int ready = 0;
    do {
      ready = poll(&waiting, 1, static_cast<int>(time.count()));
    } while (ready < 0 && errno == EINTR);
    return ready > 0;
  }
  bool fill() {
    ssize_t got = 0;
    // Mostly the bytes are there already: asking for them first spares a poll for each request.
    while ((got = recv(socket_, in_.data(), in_.size(), MSG_DONTWAIT)) < 0) {
      const bool later = errno == EAGAIN || errno == EWOULDBLOCK;
      if (!later && errno != EINTR) return false;
      if (later && !wait(POLLIN, time_left())) return false;
    }
    if (got == 0) return false;
    at_ = 0;
    filled_ = static_cast<std::size_t>(got);
    return true;
  }

  int socket_;
  const HttpOptions& options_;
  std::atomic<bool> idle_{false};
  std::vector<char> in_;
  std::size_t at_ = 0, filled_ = 0;
  std::string out_;
  Clock::time_point begun_;
  bool close_ = false;
};

thread_local Connection* Connection::current = nullptr;

// A thread a connection, made when it is needed and kept for the next.
class ConnectionThreads : public httplib::TaskQueue {
 public:
  explicit ConnectionThreads(std::size_t most) : most_(most) {}

  void enqueue(std::function<void()> serve) override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (idle_ > tasks_.size() || threads_.size() < most_) {
        tasks_.push_back(std::move(serve));
        if (tasks_.size() > idle_) threads_.emplace_back([this] { work(); });
        ready_.notify_one();
        return;
      }
    }
    refusing = true;  // too many: on the accepting thread there is time for a refusal only
    serve();
    refusing = false;
  }
  static thread_local bool refusing;

  void shutdown() override {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      ended_ = true;
    }
    ready_.notify_all();
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
  }

 private:
  void work() {
    std::unique_lock<std::mutex> lock(mutex_);
    for (;;) {
      ++idle_;
      ready_.wait(lock, [&] { return ended_ || !tasks_.empty(); });
      --idle_;
      if (tasks_.empty()) return;
      const std::function<void()> serve = std::move(tasks_.front());
      tasks_.pop_front();
      lock.unlock();
      serve();
      lock.lock();
    }
  }

  std::size_t most_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::list<std::function<void()>> tasks_;
  std::vector<std::thread> threads_;
  std::size_t idle_ = 0;
  bool ended_ = false;
};

thread_local bool ConnectionThreads::refusing = false;

ApiRequest api_request(const httplib::Request& from) {
  ApiRequest request;
  request.method = from.method;
  request.path = from.path;
  for (const auto& [name, value] : from.params) request.query.emplace(name, value);
  request.authorization = from.get_header_value("Authorization");
  request.host = from.get_header_value("Host");
  return request;
}

void answer(ApiResponse&& from, httplib::Response& to) {
  to.status = from.status;
  for (const auto& [name, value] : from.headers) to.set_header(name, value);
  to.set_header("X-Content-Type-Options", "nosniff");
  to.set_header("Content-Type", from.type);
  to.body = std::move(from.body);
}

}  // namespace

struct HttpServer::Impl : httplib::Server {
  Impl(Api& a, const HttpOptions& o) : api(a), options(o) {
    new_task_queue = [this] { return new ConnectionThreads(options.max_connections); };
    set_payload_max_length(api.options().max_body);
    set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    // What has no body is answered before httplib looks for a route; the rest reads its body first.
    set_pre_routing_handler([this](const httplib::Request& request, httplib::Response& response) {
      if (has_body(request)) return HandlerResponse::Unhandled;
      if (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")) {
        // A body that nobody reads must not be taken for the next request.
        Connection::current->close_after_answer();
      }
      answer(api.handle(api_request(request)), response);
      return HandlerResponse::Handled;
    });
    const auto with_body = [this](const httplib::Request& request, httplib::Response& response,
                                  const httplib::ContentReader& read) {
      handle_body(request, response, read);
    };
    Post(".*", with_body);
    Put(".*", with_body);
    Patch(".*", with_body);
    Delete(".*", with_body);
    set_exception_handler(
        [](const httplib::Request&, httplib::Response& response, const std::exception_ptr&) {
          answer(Api::refusal(500, "internal", "the request could not be answered"), response);
        });
    // What httplib itself refuses: a request it cannot parse.
    set_error_handler(HandlerWithResponse([](const httplib::Request&, httplib::Response& response) {
      if (!response.body.empty()) return HandlerResponse::Unhandled;
      if (Connection::current != nullptr) Connection::current->close_after_answer();
      const int status = response.status;
      answer(Api::refusal(status,
                          status == 414   ? "uri_too_long"
                          : status == 413 ? "too_large"
                          : status == 404 ? "not_found"
                                          : "bad_request",
                          "the request cannot be read"),
             response);
      return HandlerResponse::Handled;
    }));
  }
  static bool has_body(const httplib::Request& request) {
    return request.method == "POST" || request.method == "PUT" || request.method == "PATCH" ||
           (request.method == "DELETE" &&
            (request.has_header("Content-Length") || request.has_header("Transfer-Encoding")));
  }

  void handle_body(const httplib::Request& from, httplib::Response& response,
                   const httplib::ContentReader& read) {
    const auto refuse = [&](int status, const char* code, const std::string& what) {
      // What of the body was not read must not be taken for the next request.
      Connection::current->close_after_answer();
      answer(Api::refusal(status, code, what), response);
    };
    const std::size_t most = api.options().max_body;
    const auto too_large = [&] {
      refuse(413, "too_large", "a body of more than " + std::to_string(most) + " bytes");
    };
    if (from.is_multipart_form_data()) {
      refuse(415, "media_type", "the body must be JSON");
      return;
    }
    if (from.get_header_value<std::uint64_t>("Content-Length") > most) {
      too_large();
      return;
    }
    ApiRequest request = api_request(from);
    bool fits = true;
    const bool whole = read([&](const char* data, std::size_t size) {
      fits = request.body.size() + size <= most;
      if (fits) request.body.append(data, size);
      return fits;
    });
    if (!fits) {
      too_large();
    } else if (!whole) {
      refuse(408, "timeout", "the body did not arrive in time");
    } else {
      answer(api.handle(request), response);
    }
  }

  bool process_and_close_socket(socket_t socket) override {
    ServiceMetrics& metrics = api.metrics();
    Connection connection(socket, options);
    if (ConnectionThreads::refusing || !track(connection)) {
      ++metrics.refused_connections;
      constexpr std::string_view kBusy =
          "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
          "Content-Length: 0\r\n\r\n";
      ::send(socket, kBusy.data(), kBusy.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      ::close(socket);
      return false;
    }
    ++metrics.connections;
    const int yes = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    Connection::current = &connection;
    while (!draining && connection.await_request(draining)) {
      bool closed = false;
      const bool fine = process_request(connection, draining, closed, nullptr);
      if (!connection.flush() || !fine || closed || connection.closing()) break;
    }
    Connection::current = nullptr;
    ::shutdown(socket, SHUT_WR);
    // Bytes that were never read would turn the close into a reset, which can overtake the answer.
    if (connection.closing()) {
      char rest[std::size_t{64} << 10U];
      pollfd waiting = {socket, POLLIN, 0};
      const auto end = Clock::now() + kLinger;
      while (Clock::now() < end && poll(&waiting, 1, 100) > 0 &&
             recv(socket, rest, sizeof(rest), MSG_DONTWAIT) > 0) {
      }
    }
    forget(socket);
    ::close(socket);
    --metrics.connections;
    return true;
  }

  void widen_backlog() { ::listen(svr_sock_, static_cast<int>(options.max_connections)); }

  bool track(Connection& connection) {
    const std::lock_guard<std::mutex> lock(mutex);
    if (open.size() >= options.max_connections) return false;
    open.emplace(connection.socket(), &connection);
    return true;
  }
  void forget(socket_t socket) {
    const std::lock_guard<std::mutex> lock(mutex);
    open.erase(socket);
    none_open.notify_all();
  }

  Api& api;
  HttpOptions options;
  int bound = 0;
  std::atomic<bool> draining{false};
  bool listening = false;
  std::mutex mutex;
  std::condition_variable none_open;
  std::unordered_map<socket_t, Connection*> open;
};

HttpServer::HttpServer(Api& api, const HttpOptions& options)
    : impl_(std::make_unique<Impl>(api, options)) {
  if (options.port == 0) {
    impl_->bound = impl_->bind_to_any_port(options.host);
  } else {
    impl_->bound = impl_->bind_to_port(options.host, options.port) ? options.port : -1;
  }
  if (impl_->bound <= 0) {
    throw Error(ErrorCode::kIo,
                "cannot listen on " + options.host + ":" + std::to_string(options.port));
  }
  // httplib lets five connections wait to be taken; a burst of more would be held up for seconds.
  impl_->widen_backlog();
}

HttpServer::~HttpServer() = default;

int HttpServer::port() const { return impl_->bound; }

void HttpServer::listen() {
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex);
    if (impl_->draining) return;
    impl_->listening = true;
  }
  impl_->listen_after_bind();
}

void HttpServer::stop(milliseconds drain) {
  {
    const std::lock_guard<std::mutex> lock(impl_->mutex);
    impl_->draining = true;
    if (!impl_->listening) return;
  }
  // httplib forgets a stop that comes before it runs, which is a moment after listen() began.
  while (!impl_->is_running()) std::this_thread::sleep_for(milliseconds(1));
  impl_->Server::stop();
  std::unique_lock<std::mutex> lock(impl_->mutex);
  for (const auto& [socket, connection] : impl_->open) connection->wake_if_idle();
  if (impl_->none_open.wait_for(lock, drain, [&] { return impl_->open.empty(); })) return;
  for (const auto& [socket, connection] : impl_->open) ::shutdown(socket, SHUT_RDWR);
}

}  // namespace halo::service
