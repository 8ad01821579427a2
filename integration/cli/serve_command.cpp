#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "halo/integration/cli/commands.h"
#include "halo/integration/service/api.h"
#include "halo/integration/service/http_server.h"

namespace halo::cli {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kGoodbye{10};  // from the signal to the end
constexpr std::chrono::seconds kDrain{6};     // of it, for requests in progress
constexpr std::size_t kShortestToken = 16;

// From a file or the environment, never from the command line: that everyone can read.
std::string token_of(const std::filesystem::path& file, const char* variable) {
  std::string token;
  if (!file.empty()) {
    std::ifstream in(file);
    if (!in || !std::getline(in, token)) {
      throw Error(ErrorCode::kIo, "cannot read a token from " + file.string());
    }
  } else if (const char* value = std::getenv(variable)) {  // NOLINT(concurrency-mt-unsafe)
    token = value;
  }
  while (!token.empty() && (token.back() == '\r' || token.back() == ' ')) token.pop_back();
  if (!token.empty() && token.size() < kShortestToken) {
    throw Error(ErrorCode::kInvalidArgument, "a token of fewer than 16 characters");
  }
  if (token.empty() && !file.empty()) {
    throw Error(ErrorCode::kInvalidArgument, file.string() + " holds no token");
  }
  return token;
}

bool is_loopback(const std::string& host) {
  return host == "localhost" || host == "::1" || host.rfind("127.", 0) == 0;
}

// A collection of the index's own, where there is none of the name yet.
void import_index(const ServeCommand& command, service::Catalog& catalog) {
  if (command.index.empty()) return;
  std::string name = command.name;
  if (name.empty()) {
    name = command.index.stem().string();
    std::replace_if(
        name.begin(), name.end(),
        [](char c) { return !service::is_collection_name(std::string(1, c)); }, '-');
    name.resize(std::min<std::size_t>(name.size(), 64));
  }
  if (catalog.has(name)) return;
  catalog.create(name, std::make_shared<const Engine>(Engine::load(command.index)));
}

// Requests a stop after a while, unless it ends before.
class Timer {
 public:
  explicit Timer(Clock::time_point at)
      : thread_([this, at](const std::stop_token& ended) {
          std::unique_lock<std::mutex> lock(mutex_);
          if (!wake_.wait_until(lock, ended, at, [] { return false; }) && !ended.stop_requested()) {
            stop_.request_stop();
          }
        }) {}
  std::stop_token token() const { return stop_.get_token(); }

 private:
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::stop_source stop_;
  std::jthread thread_;
};

// A connection is a descriptor: as many as this process may have.
void allow_many_descriptors() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  static_cast<void>(setrlimit(RLIMIT_NOFILE, &limit));
}

void wait_for(const std::stop_token& stop) {
  std::mutex mutex;
  std::condition_variable_any wake;
  // cppcheck-suppress localMutex  // nothing is guarded: the wait asks for a lock
  std::unique_lock<std::mutex> lock(mutex);
  wake.wait(lock, stop, [] { return false; });
}

}  // namespace

void run_serve(const ServeCommand& command, Session& session) {
  service::ApiOptions api_options;
  api_options.read_token = token_of(command.read_token_file, "HALO_READ_TOKEN");
  api_options.admin_token = token_of(command.admin_token_file, "HALO_ADMIN_TOKEN");
  api_options.slots = 2 * session.executor().threads();
  api_options.queue = command.queue;
  if (!is_loopback(command.host) && api_options.admin_token.empty()) {
    throw Error(ErrorCode::kInvalidArgument,
                "another address than 127.0.0.1 needs a token: --admin-token-file FILE");
  }
  if (api_options.admin_token.empty()) {
    if (!api_options.read_token.empty()) {
      throw Error(ErrorCode::kInvalidArgument, "a read token without an admin token");
    }
    api_options.hosts = {"localhost", "127.0.0.1", "[::1]", command.host};
  }

  allow_many_descriptors();
  service::Catalog catalog(command.data);
  service::Api api(catalog, api_options);
  service::HttpOptions http;
  http.host = command.host;
  http.port = command.port;
  service::HttpServer server(api, http);
  std::thread listening([&] { server.listen(); });
  struct Ending {  // also where loading throws
    service::HttpServer& server;
    std::thread& listening;
    ~Ending() {
      if (!listening.joinable()) return;
      server.stop(kDrain);
      listening.join();
    }
  } ending{server, listening};

  catalog.open_all();
  import_index(command, catalog);
  api.set_ready(true);
  const nlohmann::ordered_json facts = {{"host", command.host},
                                        {"port", server.port()},
                                        {"data", command.data.string()},
                                        {"collections", catalog.names()}};
  session.report(facts, [&](std::ostream& out) {
    out << "serving " << command.data.string() << " on http://" << command.host << ":"
        << server.port() << '\n';
  });
  session.out().flush();

  wait_for(session.job().stop);
  const auto end = Clock::now() + kGoodbye;
  api.set_ready(false);
  server.stop(kDrain);
  listening.join();
  const Timer timer(end - std::chrono::seconds(1));
  catalog.close(timer.token());
}

}  // namespace halo::cli
