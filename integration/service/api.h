// What the service answers, without HTTP: a request in, a response out. http_server.h carries them.
//
// Every failure is a response with a status of 4xx or 5xx and a JSON object
// {"error": {"code": "dimension_mismatch", "number": 2, "message": "..."}}.
//
// Thread-safety: handle() may be called from any number of threads.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halo/core/executor.h"
#include "halo/integration/service/catalog.h"
#include "halo/integration/service/compute_slots.h"
#include "halo/integration/service/service_metrics.h"

namespace halo::service {

struct ApiOptions {
  std::string read_token;   ///< empty: reading needs the admin token where there is one, else none
  std::string admin_token;  ///< empty: needs no token
  /// Names a request's Host may give; empty: any. Set where no token protects the service, so that
  /// no web page can reach it under a name of its own.
  std::vector<std::string> hosts;
  /// Requests computed at once; 0: twice as many as there are cores, so that no core waits while a
  /// slot is handed on. More of them share the cores, and each answer takes longer.
  std::size_t slots = 0;
  std::size_t queue = 256;
  std::size_t max_body = std::size_t{16} << 20U;
};

struct ApiRequest {
  std::string method;
  std::string path;  ///< decoded, without the query
  std::map<std::string, std::string, std::less<>> query;
  std::string body;
  std::string authorization;  ///< the header
  std::string host;           ///< the header
};

struct ApiResponse {
  int status = 200;
  std::string type = "application/json";
  std::string body;
  std::map<std::string, std::string> headers;
};

class Api {
 public:
  Api(Catalog& catalog, const ApiOptions& options);

  ApiResponse handle(const ApiRequest& request);
  const ApiOptions& options() const { return options_; }
  ServiceMetrics& metrics() { return metrics_; }
  /// /readyz says so.
  void set_ready(bool ready) { ready_ = ready; }

  static ApiResponse refusal(int status, std::string_view code, const std::string& message);

 private:
  class Turn;  // a compute slot, held for a scope
  struct Target;
  ApiResponse route(const ApiRequest& request, Route& kind);
  std::optional<ApiResponse> page_route(const ApiRequest& request, Route& kind);
  ApiResponse whole_route(const ApiRequest& request, const std::string& name,
                          const Collection& collection);
  ApiResponse items_route(const ApiRequest& request, const Target& target, Collection& collection,
                          Route& kind);
  ApiResponse jobs_route(const ApiRequest& request, const Target& target, Collection& collection);
  ApiResponse one_item(const ApiRequest& request, Id id, const Collection& collection);
  ApiResponse neighbours(const ApiRequest& request, Id id, const Collection& collection);
  ApiResponse search(const ApiRequest& request, Collection& collection);
  ApiResponse upsert(const ApiRequest& request, Collection& collection);
  ApiResponse refine(const ApiRequest& request, Collection& collection);
  ApiResponse train(const ApiRequest& request, Collection& collection);
  std::string metrics_text();
  void require(const ApiRequest& request, bool admin) const;
  void require_known_host(const ApiRequest& request) const;

  Catalog& catalog_;
  ApiOptions options_;
  ComputeSlots slots_;
  Executor alone_{1};
  ServiceMetrics metrics_;
  std::atomic<bool> ready_{false};
};

/// The same time for any two texts of one length.
bool equal_in_constant_time(std::string_view a, std::string_view b);

}  // namespace halo::service
