#include "halo/integration/service/api.h"

#include <algorithm>
#include <charconv>
#include <limits>
#include <new>
#include <optional>
#include <sstream>
#include <thread>
#include <unordered_map>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/version.h"
#include "halo/integration/node_attention.h"
#include "halo/integration/service/json_vectors.h"
#include "halo/integration/service/page_files.h"

namespace halo::service {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kMaxK = 1000, kMaxEf = 4096, kMaxBatch = 256, kMaxCandidates = 4096;
constexpr std::size_t kMaxItems = 4096, kMaxListed = 1000, kMaxSamples = 4096;
constexpr std::size_t kMaxLayer = 64;
constexpr std::chrono::milliseconds kDefaultDeadline{10'000}, kLongestDeadline{60'000};

int status_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kUnknownId:
    case ErrorCode::kNotFound:
      return 404;
    case ErrorCode::kDuplicateId:
    case ErrorCode::kNotPrepared:
    case ErrorCode::kEmpty:
    case ErrorCode::kModelMismatch:
    case ErrorCode::kNoGain:
      return 409;
    case ErrorCode::kNoSpace:
      return 507;
    case ErrorCode::kOutOfMemory:
    case ErrorCode::kMemoryLimit:
    case ErrorCode::kCancelled:
      return 503;
    case ErrorCode::kIo:
    case ErrorCode::kCorrupt:
    case ErrorCode::kUnsupportedFormat:
    case ErrorCode::kInternal:
      return 500;
    default:
      return 400;
  }
}

/// A refusal that is no halo::Error.
struct Refusal {
  int status;
  std::string code, message;
};

[[noreturn]] void invalid(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
}

ApiResponse json_response(const OrderedJson& json, int status = 200) {
  ApiResponse response;
  response.status = status;
  // A message may quote bytes of the request that are no UTF-8.
  response.body = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  return response;
}

std::size_t size_member(const Json& json, const char* name, std::size_t fallback, std::size_t least,
                        std::size_t most) {
  const auto at = json.find(name);
  if (at == json.end()) return fallback;
  if (!at->is_number_unsigned() || at->get<std::uint64_t>() < least ||
      at->get<std::uint64_t>() > most) {
    invalid("\"" + std::string(name) + "\" is no whole number from " + std::to_string(least) +
            " to " + std::to_string(most));
  }
  return at->get<std::size_t>();
}

bool bool_member(const Json& json, const char* name) {
  const auto at = json.find(name);
  if (at == json.end()) return false;
  if (!at->is_boolean()) invalid("\"" + std::string(name) + "\" is neither true nor false");
  return at->get<bool>();
}

std::string string_member(const Json& json, const char* name, const std::string& fallback) {
  const auto at = json.find(name);
  if (at == json.end()) return fallback;
  if (!at->is_string()) invalid("\"" + std::string(name) + "\" is no string");
  return at->get<std::string>();
}

void only_members(const Json& json, std::initializer_list<std::string_view> known) {
  for (const auto& [name, value] : json.items()) {
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      invalid("there is no member \"" + name + "\"");
    }
  }
}

Id id_of(const Json& json, const std::string& what) {
  if (!json.is_number_integer() || json < 0) invalid(what + " is no whole number of at least 0");
  if (json.is_number_unsigned() &&
      json.get<std::uint64_t>() > static_cast<std::uint64_t>(std::numeric_limits<Id>::max())) {
    invalid(what + " is too large");
  }
  return json.get<Id>();
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

Id id_in_path(const std::string& text) {
  const auto id = whole_number(text);
  if (!id) invalid("\"" + text + "\" is no id: a whole number of at least 0");
  return *id;
}

std::size_t query_number(const ApiRequest& request, std::string_view name, std::size_t fallback,
                         std::size_t most) {
  const auto at = request.query.find(name);
  if (at == request.query.end()) return fallback;
  const auto value = whole_number(at->second);
  if (!value || static_cast<std::uint64_t>(*value) > most) {
    invalid(std::string(name) + " is no whole number from 0 to " + std::to_string(most));
  }
  return static_cast<std::size_t>(*value);
}

Json object_body(const std::string& body) {
  if (body.empty()) return Json::object();
  return parse_body(body, {}).rest;
}

std::vector<std::string> parts_of(std::string_view path) {
  std::vector<std::string> parts;
  while (!path.empty()) {
    path.remove_prefix(1);  // the '/'
    const std::size_t end = std::min(path.find('/'), path.size());
    parts.emplace_back(path.substr(0, end));
    path.remove_prefix(end);
  }
  return parts;
}

RefineMode refine_mode(const std::string& text) {
  if (text == "off") return RefineMode::kOff;
  if (text == "auto") return RefineMode::kAuto;
  if (text == "trained") return RefineMode::kTrained;
  invalid("\"refine\" is none of off, auto, trained");
}

// Numbers as JSON has them; what JSON has no number for is null.
template <class Number>
void append_number(std::string& out, Number number) {
  char text[32];
  const auto [end, error] = std::to_chars(text, text + sizeof(text), number);
  if (error != std::errc() || text[0] == 'n' || text[0] == 'i' || text[1] == 'i') {
    out += "null";
    return;
  }
  out.append(text, end);
}

const char* answer_name(Answer answer) {
  switch (answer) {
    case Answer::kWhole:
      return "whole";
    case Answer::kPlain:
      return "plain";
    case Answer::kNone:
      break;
  }
  return "none";
}

OrderedJson stats_of(const std::string& name, const Collection& collection) {
  const Collection::Stats stats = collection.stats();
  return {{"name", name},
          {"vectors", stats.vectors},
          {"dim", stats.dim},
          {"metric", stats.metric},
          {"refined", stats.refined},
          {"trained", stats.trained},
          {"unsettled", stats.unsettled},
          {"logged_writes", stats.logged},
          {"writable", stats.writable},
          {"sampled_queries", stats.sampled_queries}};
}

OrderedJson job_json(const Collection::Job& job) {
  OrderedJson json = {{"job", job.number}, {"kind", job.kind}, {"state", job.state}};
  if (!job.error.empty()) json["error"] = job.error;
  if (!job.result.is_null()) json["result"] = job.result;
  return json;
}

ApiResponse accepted(std::uint64_t job) {
  return json_response({{"job", job}, {"state", "waiting"}}, 202);
}

struct SearchRequest {
  Matrix queries;
  bool single = true;
  QueryOptions options;
  MetadataFilter filter;
  bool with_metadata = false;
  std::chrono::milliseconds time{0};
};

// [rows, cols] with the shape checked; empty where none was given.
Matrix matrix_of(const NumberRows& rows, std::size_t dim, const char* name) {
  if (rows.cols != dim) {
    throw Error(ErrorCode::kDimensionMismatch,
                "\"" + std::string(name) + "\": " + std::to_string(rows.cols) +
                    " numbers for a collection of dimension " + std::to_string(dim));
  }
  return Matrix::copy_of({rows.values.data(), rows.rows, rows.cols});
}

SearchRequest search_request(const std::string& body, const Collection& collection) {
  const std::size_t dim = collection.engine().dim();
  BodyWithVectors parsed = parse_body(body, {"vector", "vectors"});
  const Json& json = parsed.rest;
  only_members(json, {"vector_base64", "id", "k", "ef", "refine", "candidates", "filter",
                      "deadline_ms", "explain", "with_metadata"});
  SearchRequest request;
  const NumberRows &one = parsed.vectors[0], &many = parsed.vectors[1];
  const int given = (one.given ? 1 : 0) + (many.given ? 1 : 0) +
                    (json.contains("vector_base64") ? 1 : 0) + (json.contains("id") ? 1 : 0);
  if (given != 1) invalid("one of \"vector\", \"vectors\", \"vector_base64\" and \"id\" is needed");
  if (one.given) {
    if (one.nested) invalid("\"vector\" is an array of arrays: use \"vectors\"");
    request.queries = matrix_of(one, dim, "vector");
  } else if (many.given) {
    if (!many.nested) invalid("\"vectors\" is no array of arrays");
    if (many.rows > kMaxBatch) {
      invalid("\"vectors\": " + std::to_string(many.rows) + " are more than " +
              std::to_string(kMaxBatch));
    }
    request.queries = matrix_of(many, dim, "vectors");
    request.single = false;
  } else if (json.contains("vector_base64")) {
    NumberRows rows;
    rows.values = floats_of_base64(string_member(json, "vector_base64", ""));
    rows.rows = 1;
    rows.cols = rows.values.size();
    request.queries = matrix_of(rows, dim, "vector_base64");
  } else {
    const Id id = id_of(json.at("id"), "\"id\"");
    const auto vector = collection.engine().vector(id);
    if (!vector) throw Error(ErrorCode::kUnknownId, "there is no item " + std::to_string(id));
    request.queries = Matrix::copy_of({vector->data(), 1, dim});
  }
  QueryOptions& options = request.options;
  options.k = size_member(json, "k", 10, 1, kMaxK);
  options.ef = size_member(json, "ef", 64, 1, kMaxEf);
  options.refine = refine_mode(string_member(json, "refine", "off"));
  options.candidates =
      size_member(json, "candidates", std::max<std::size_t>(400, options.k), 1, kMaxCandidates);
  options.explain = bool_member(json, "explain");
  request.time = std::chrono::milliseconds(
      size_member(json, "deadline_ms", static_cast<std::size_t>(kDefaultDeadline.count()), 0,
                  static_cast<std::size_t>(kLongestDeadline.count())));
  request.with_metadata = bool_member(json, "with_metadata");
  if (const auto filter = json.find("filter"); filter != json.end()) {
    request.filter = MetadataFilter::parse(*filter);
  }
  return request;
}

// One query's results. Written by hand: a general writer takes longer than the search of ten
// results.
void append_results(std::string& out, const BatchResults& results, std::size_t q,
                    const SearchRequest& request, const Collection& collection) {
  out += "\"answer\":\"";
  out += answer_name(results.answers[q]);
  out += "\",\"results\":[";
  for (std::size_t i = q * results.k; i < q * results.k + results.found[q]; ++i) {
    if (i != q * results.k) out += ',';
    out += "{\"id\":";
    append_number(out, results.ids[i]);
    out += ",\"score\":";
    append_number(out, results.scores[i]);
    if (request.options.explain) {
      out += ",\"distance\":";
      append_number(out, results.distances[i]);
      out += ",\"plain_rank\":";
      append_number(out, results.plain_ranks[i]);
    }
    if (request.with_metadata) {
      out += ",\"metadata\":";
      out += collection.item(results.ids[i]).value_or("{}");
    }
    out += '}';
  }
  out += ']';
  if (!request.options.explain) return;
  out += ",\"plain\":[";
  for (std::size_t i = q * results.k; i < (q + 1) * results.k && results.plain_ids[i] >= 0; ++i) {
    if (i != q * results.k) out += ',';
    out += "{\"id\":";
    append_number(out, results.plain_ids[i]);
    out += ",\"distance\":";
    append_number(out, results.plain_distances[i]);
    if (request.with_metadata) {
      out += ",\"metadata\":";
      out += collection.item(results.plain_ids[i]).value_or("{}");
    }
    out += '}';
  }
  out += ']';
}

std::string results_json(const BatchResults& results, const SearchRequest& request,
                         const Collection& collection, double parse_seconds, double wait_seconds) {
  std::string out = "{";
  out.reserve(64 * results.ids.size() + 256);
  if (request.single) {
    append_results(out, results, 0, request, collection);
  } else {
    out += "\"queries\":[";
    for (std::size_t q = 0; q < results.found.size(); ++q) {
      out += q == 0 ? "{" : ",{";
      append_results(out, results, q, request, collection);
      out += '}';
    }
    out += ']';
  }
  out += results.partial ? ",\"partial\":true" : ",\"partial\":false";
  if (request.options.refine != RefineMode::kOff) {
    out += ",\"gate\":";
    append_number(out, results.gate);
  }
  const auto stage = [&](const char* name, double seconds) {
    out += name;
    append_number(out, static_cast<float>(seconds * 1e3));
  };
  stage(",\"timings_ms\":{\"wait\":", wait_seconds);
  stage(",\"parse\":", parse_seconds);
  stage(",\"search\":", results.search_seconds);
  stage(",\"refine\":", results.refine_seconds);
  stage(",\"total\":", results.wall_seconds + parse_seconds + wait_seconds);
  out += "}}";
  return out;
}

double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

}  // namespace

class Api::Turn {
 public:
  Turn(Api& api, Clock::time_point deadline) : slots_(api.slots_) {
    switch (slots_.acquire(deadline)) {
      case ComputeSlots::Grant::kGranted:
        return;
      case ComputeSlots::Grant::kQueueFull:
        ++api.metrics_.refused_requests;
        throw Refusal{429, "busy", "too many requests are waiting: try again later"};
      case ComputeSlots::Grant::kTooLate:
        throw Refusal{503, "busy", "the deadline passed while the request waited for its turn"};
    }
  }
  ~Turn() { slots_.release(); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  ComputeSlots& slots_;
};

struct Api::Target {
  std::string name;                  // of the collection
  std::vector<std::string> further;  // parts of the path after it
};

bool equal_in_constant_time(std::string_view a, std::string_view b) {
  unsigned difference = a.size() == b.size() ? 0U : 1U;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const char other = b.empty() ? '\0' : b[i % b.size()];
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(other);
  }
  return difference == 0;
}

Api::Api(Catalog& catalog, const ApiOptions& options)
    : catalog_(catalog),
      options_(options),
      slots_(options.slots != 0 ? options.slots : Executor(0).threads() + 1, options.queue) {}

ApiResponse Api::refusal(int status, std::string_view code, const std::string& message) {
  ApiResponse response = json_response({{"error", {{"code", code}, {"message", message}}}}, status);
  if (status == 429 || status == 503) response.headers["Retry-After"] = "1";
  if (status == 401) response.headers["WWW-Authenticate"] = "Bearer";
  return response;
}

// An admin may read. Who has no token where one is needed learns nothing else.
void Api::require(const ApiRequest& request, bool admin) const {
  constexpr std::string_view kBearer = "Bearer ";
  std::string_view given = request.authorization;
  given = given.substr(0, kBearer.size()) == kBearer ? given.substr(kBearer.size()) : "";
  const bool is_admin =
      !options_.admin_token.empty() && equal_in_constant_time(given, options_.admin_token);
  const bool is_reader =
      !options_.read_token.empty() && equal_in_constant_time(given, options_.read_token);
  const bool open = options_.admin_token.empty() && (admin || options_.read_token.empty());
  if (open || is_admin || (is_reader && !admin)) return;
  if (is_reader) throw Refusal{403, "forbidden", "this needs the admin token"};
  throw Refusal{401, "unauthorized", "a token is needed: Authorization: Bearer <token>"};
}

ApiResponse Api::handle(const ApiRequest& request) {
  const auto start = Clock::now();
  Route kind = Route::kOther;
  ApiResponse response;
  try {
    response = route(request, kind);
  } catch (const Refusal& refused) {
    response = refusal(refused.status, refused.code, refused.message);
  } catch (const Error& error) {
    response = json_response({{"error",
                               {{"code", error_code_name(error.code())},
                                {"number", static_cast<int>(error.code())},
                                {"message", error.what()}}}},
                             status_of(error.code()));
  } catch (const std::bad_alloc&) {
    response = refusal(503, "out_of_memory", "not enough memory for this request");
  } catch (const std::exception& error) {
    response = refusal(500, "internal", error.what());
  }
  metrics_.answered(kind, response.status, seconds_between(start, Clock::now()));
  return response;
}

ApiResponse Api::route(const ApiRequest& request, Route& kind) {
  const bool reading = request.method == "GET" || request.method == "HEAD";
  if (request.path == "/livez" || request.path == "/readyz") {
    kind = Route::kProbe;
    const bool fine = request.path == "/livez" || ready_;
    return json_response({{"status", fine ? "ok" : "not ready"}, {"version", HALO_VERSION_STRING}},
                         fine ? 200 : 503);
  }
  if (!options_.hosts.empty()) {
    const std::string name = request.host.substr(0, request.host.rfind(':'));
    if (std::find(options_.hosts.begin(), options_.hosts.end(), name) == options_.hosts.end() &&
        std::find(options_.hosts.begin(), options_.hosts.end(), request.host) ==
            options_.hosts.end()) {
      throw Refusal{403, "forbidden", "this service answers to localhost only"};
    }
  }
  if (reading && !request.path.empty()) {
    const std::string_view file = request.path == "/" ? std::string_view("index.html")
                                                      : std::string_view(request.path).substr(1);
    for (const PageFile& page : page_files()) {
      if (page.name != file) continue;
      kind = Route::kPage;
      ApiResponse response;
      response.type = page.type;
      response.body = page.content;
      response.headers["Content-Security-Policy"] =
          "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";
      return response;
    }
    if (request.path == "/openapi.json") {
      kind = Route::kPage;
      ApiResponse response;
      response.body = openapi_document();
      return response;
    }
    if (request.path == "/metrics") {
      kind = Route::kProbe;
      require(request, false);
      ApiResponse response;
      response.type = "text/plain; version=0.0.4";
      response.body = metrics_text();
      return response;
    }
  }
  const std::vector<std::string> parts = parts_of(request.path);
  if (parts.empty() || parts[0] != "collections") {
    throw Refusal{404, "not_found", "there is nothing at this path; see /openapi.json"};
  }
  if (!ready_) throw Refusal{503, "not_ready", "the service is loading, or about to end"};
  if (parts.size() == 1 || (parts.size() == 2 && parts[1].empty())) {
    if (!reading) throw Refusal{405, "method", "this path can only be read"};
    kind = Route::kRead;
    require(request, false);
    OrderedJson list = OrderedJson::array();
    for (const std::string& name : catalog_.names()) {
      if (catalog_.has(name)) list.push_back(stats_of(name, *catalog_.get(name)));
    }
    return json_response({{"collections", list}});
  }
  Target target{parts[1], {parts.begin() + 2, parts.end()}};
  return collection_route(request, target, kind);
}

ApiResponse Api::collection_route(const ApiRequest& request, const Target& target, Route& kind) {
  const auto& further = target.further;
  const bool get = request.method == "GET" || request.method == "HEAD";
  const bool post = request.method == "POST", put = request.method == "PUT";
  const bool erase = request.method == "DELETE";
  const auto is = [&](std::size_t length, std::string_view first) {
    return further.size() == length && further[0] == first;
  };
  const bool searching = is(1, "search") && post;
  // Before anything is said about what exists.
  require(request, !get && !searching);
  kind = searching ? Route::kSearch : get ? Route::kRead : Route::kAdmin;

  if (further.empty() && put) return create(request, target.name);
  const auto collection = catalog_.get(target.name);
  if (searching) return search(request, *collection);
  if (further.empty()) {
    if (get) return json_response(stats_of(target.name, *collection));
    if (erase) {
      catalog_.erase(target.name);
      return json_response({{"deleted", target.name}});
    }
  } else if (is(1, "items")) {
    if (post) {
      kind = Route::kWrite;
      return upsert(request, *collection);
    }
    if (get) {
      const auto first = static_cast<Id>(query_number(
          request, "from", 0, static_cast<std::size_t>(std::numeric_limits<Id>::max())));
      const std::size_t limit = query_number(request, "limit", 100, kMaxListed);
      std::string body = "{\"items\":[";
      bool comma = false;
      Id last = -1;
      for (const auto& [id, metadata] : collection->items(first, std::max<std::size_t>(limit, 1))) {
        body += (comma ? ",{\"id\":" : "{\"id\":") + std::to_string(id) +
                ",\"metadata\":" + metadata + "}";
        comma = true;
        last = id;
      }
      body += "],\"last\":" + (last < 0 ? "null" : std::to_string(last)) + "}";
      ApiResponse response;
      response.body = std::move(body);
      return response;
    }
  } else if (is(2, "items") && further[1] == "delete" && post) {
    kind = Route::kWrite;
    return remove(request, *collection);
  } else if (is(2, "items")) {
    const Id id = id_in_path(further[1]);
    if (get) {
      const auto vector = collection->engine().vector(id);
      if (!vector) throw Error(ErrorCode::kUnknownId, "there is no item " + std::to_string(id));
      std::string body =
          "{\"id\":" + std::to_string(id) + ",\"metadata\":" + collection->item(id).value_or("{}");
      if (query_number(request, "vector", 0, 1) == 1) {
        body += ",\"vector\":[";
        for (std::size_t d = 0; d < vector->size(); ++d) {
          if (d != 0) body += ',';
          append_number(body, (*vector)[d]);
        }
        body += ']';
      }
      ApiResponse response;
      response.body = body + "}";
      return response;
    }
    if (erase) {
      kind = Route::kWrite;
      const std::vector<Id> one = {id};
      if (collection->remove(one) == 0) {
        throw Error(ErrorCode::kUnknownId, "there is no item " + std::to_string(id));
      }
      return json_response({{"removed", 1}});
    }
  } else if (is(3, "items") && further[2] == "neighbours" && get) {
    const auto engine = collection->engine().engine();
    if (!engine) throw Error(ErrorCode::kNotPrepared, "nothing is settled yet");
    const std::size_t layer = query_number(request, "layer", 0, kMaxLayer);
    const Turn turn(*this, Clock::now() + kDefaultDeadline);
    const NodeAttention node = node_attention(*engine, id_in_path(further[1]), layer);
    OrderedJson json = {{"id", id_in_path(further[1])},
                        {"level", node.level},
                        {"layers", engine->snapshot()->num_layers()},
                        {"layer", layer},
                        {"links", OrderedJson::array()},
                        {"window", OrderedJson::array()},
                        {"heads", OrderedJson::array()}};
    for (const auto& near : node.links) {
      json["links"].push_back({{"id", near.id}, {"distance", near.distance}});
    }
    for (const auto& near : node.window) {
      json["window"].push_back({{"id", near.id}, {"distance", near.distance}});
    }
    for (const auto& head : node.heads) {
      json["heads"].push_back(
          {{"name", head.name}, {"weight", head.weight}, {"attention", head.weights}});
    }
    return json_response(json);
  } else if (is(1, "refine") && post) {
    return refine(request, *collection);
  } else if (is(1, "train") && post) {
    return train(request, *collection);
  } else if (is(1, "settle") && post) {
    return accepted(collection->settle());
  } else if (is(1, "jobs") && get) {
    OrderedJson jobs = OrderedJson::array();
    for (const auto& job : collection->jobs()) jobs.push_back(job_json(job));
    return json_response({{"jobs", jobs}});
  } else if (is(2, "jobs") && get) {
    const auto job = collection->job(static_cast<std::uint64_t>(id_in_path(further[1])));
    if (!job) throw Refusal{404, "not_found", "there is no such job"};
    return json_response(job_json(*job));
  } else {
    throw Refusal{404, "not_found", "there is nothing at this path; see /openapi.json"};
  }
  throw Refusal{405, "method", "this path does not take " + request.method};
}

ApiResponse Api::search(const ApiRequest& request, Collection& collection) {
  const auto start = Clock::now();
  const Turn turn(*this, start + kDefaultDeadline);
  const auto parse_start = Clock::now();
  SearchRequest wanted = search_request(request.body, collection);
  const auto parsed = Clock::now();
  wanted.options.observer = &metrics_;
  wanted.options.deadline = Deadline(start + wanted.time);
  IdFilter filter;
  if (!wanted.filter.empty()) {
    const MetadataTable& table = collection.metadata();
    const auto rows = table.matching(wanted.filter);
    filter.allows = [&table, rows](Id id) { return table.passes(rows, id); };
    filter.nodes = [&table, rows](const std::shared_ptr<const GraphSnapshot>& snapshot) {
      return table.nodes(rows, snapshot);
    };
  }
  const BatchResults results =
      collection.engine().search(wanted.queries, wanted.options, alone_, {}, filter);
  if (wanted.options.refine != RefineMode::kOff) {
    for (std::size_t q = 0; q < wanted.queries.rows(); ++q) {
      collection.saw_query(wanted.queries.row_span(q));
    }
  }
  ApiResponse response;
  response.body = results_json(results, wanted, collection, seconds_between(parse_start, parsed),
                               seconds_between(start, parse_start));
  return response;
}

ApiResponse Api::upsert(const ApiRequest& request, Collection& collection) {
  std::vector<ItemWrite> items;
  {
    const Turn turn(*this, Clock::now() + kDefaultDeadline);
    Json json = parse_body(request.body, {}).rest;
    only_members(json, {"items"});
    const auto list = json.find("items");
    if (list == json.end() || !list->is_array()) invalid("\"items\" is no array");
    if (list->empty() || list->size() > kMaxItems) {
      invalid("\"items\" holds " + std::to_string(list->size()) + ", not 1 to " +
              std::to_string(kMaxItems));
    }
    for (Json& from : *list) {
      if (!from.is_object() || !from.contains("id")) invalid("an item without an \"id\"");
      only_members(from, {"id", "vector", "vector_base64", "metadata"});
      ItemWrite item;
      item.id = id_of(from["id"], "\"id\"");
      const std::string name = "item " + std::to_string(item.id) + ": ";
      if (from.contains("vector")) {
        item.vector = numbers_of(from["vector"], name + "\"vector\"");
        if (item.vector.empty()) {
          throw Error(ErrorCode::kDimensionMismatch, name + "\"vector\" is empty");
        }
      } else if (from.contains("vector_base64")) {
        item.vector = floats_of_base64(string_member(from, "vector_base64", ""));
      }
      if (from.contains("metadata")) {
        if (!from["metadata"].is_object()) invalid(name + "\"metadata\" is no object");
        item.metadata = std::move(from["metadata"]);
      }
      if (item.vector.empty() && !item.metadata) invalid(name + "neither a vector nor metadata");
      items.push_back(std::move(item));
    }
  }
  const std::size_t count = items.size();
  collection.upsert(std::move(items));
  return json_response({{"written", count}});
}

ApiResponse Api::remove(const ApiRequest& request, Collection& collection) {
  const Json json = object_body(request.body);
  only_members(json, {"ids"});
  const auto list = json.find("ids");
  if (list == json.end() || !list->is_array()) invalid("\"ids\" is no array");
  if (list->size() > kMaxItems) invalid("\"ids\" holds more than " + std::to_string(kMaxItems));
  std::vector<Id> ids;
  for (const Json& id : *list) ids.push_back(id_of(id, "an id"));
  return json_response({{"removed", collection.remove(ids)}});
}

ApiResponse Api::create(const ApiRequest& request, const std::string& name) {
  const Json json = object_body(request.body);
  only_members(json, {"dim", "metric", "M", "ef_construction", "seed"});
  CollectionOptions options;
  options.dim = size_member(json, "dim", 0, 1, 65'536);
  if (options.dim == 0) invalid("\"dim\" is needed");
  options.build.metric = parse_metric(string_member(json, "metric", "cosine"));
  options.build.M = size_member(json, "M", 16, 2, 256);
  options.build.ef_construction = size_member(json, "ef_construction", 200, 1, 4096);
  options.build.seed = size_member(json, "seed", 100, 0, std::numeric_limits<std::size_t>::max());
  const auto made = catalog_.create(name, options);
  return json_response(stats_of(name, *made), 201);
}

ApiResponse Api::refine(const ApiRequest& request, Collection& collection) {
  gnn::RefineOptions options;
  Matrix samples;
  {
    const Turn turn(*this, Clock::now() + kDefaultDeadline);
    BodyWithVectors parsed =
        parse_body(request.body.empty() ? "{}" : request.body, {"sample_queries"});
    only_members(parsed.rest, {"window", "layers"});
    options.window = size_member(parsed.rest, "window", options.window, 0, 256);
    options.layers = size_member(parsed.rest, "layers", options.layers, 1, 8);
    const NumberRows& rows = parsed.vectors[0];
    if (rows.given && rows.rows > kMaxSamples) invalid("\"sample_queries\": more than 4,096");
    if (rows.given) samples = matrix_of(rows, collection.engine().dim(), "sample_queries");
    if (!samples.empty()) collection.engine().check_vectors(samples);
  }
  if (collection.engine().size() == 0) throw Error(ErrorCode::kEmpty, "the collection is empty");
  return accepted(collection.refine(options, std::move(samples)));
}

// Labels are an item's metadata field, or judged queries: {"queries": [[...]], "judgements":
// [{"query": 0, "id": 17, "grade": 1}]}.
ApiResponse Api::train(const ApiRequest& request, Collection& collection) {
  const Turn turn(*this, Clock::now() + kDefaultDeadline);
  BodyWithVectors parsed = parse_body(request.body, {"queries"});
  const Json& json = parsed.rest;
  only_members(json, {"label_field", "judgements", "validation_fraction", "epochs"});
  TrainOptions options;
  options.epochs = size_member(json, "epochs", 0, 0, 10'000);
  if (const auto at = json.find("validation_fraction"); at != json.end()) {
    if (!at->is_number()) invalid("\"validation_fraction\" is no number");
    options.validation_fraction = at->get<double>();
  }
  options.validate();
  const bool labelled = json.contains("label_field"), judged = json.contains("judgements");
  if (labelled == judged) invalid("either \"label_field\", or \"queries\" and \"judgements\"");
  if (labelled) {
    const std::string field = string_member(json, "label_field", "");
    return accepted(collection.train(
        [&collection, field](const GraphSnapshot& snapshot) {
          std::unordered_map<Id, std::int64_t> classes;
          std::map<std::string, std::int64_t> numbers;
          for (const auto& [id, text] :
               collection.items(0, std::numeric_limits<std::size_t>::max())) {
            const Json metadata = Json::parse(text);
            const auto at = metadata.find(field);
            if (at == metadata.end() || at->is_null()) continue;
            const auto next = static_cast<std::int64_t>(numbers.size());
            classes[id] = numbers.try_emplace(at->dump(), next).first->second;
          }
          if (numbers.empty()) {
            throw Error(ErrorCode::kEmpty, "no item has the field \"" + field + "\"");
          }
          TrainingData data;
          for (const Id id : snapshot.ids()) {
            const auto at = classes.find(id);
            data.labels.push_back(at == classes.end() ? -1 : at->second);
          }
          return data;
        },
        options));
  }
  if (!parsed.vectors[0].given) invalid("\"judgements\" without \"queries\"");
  auto queries = std::make_shared<const Matrix>(
      matrix_of(parsed.vectors[0], collection.engine().dim(), "queries"));
  collection.engine().check_vectors(*queries);
  std::vector<io::Judgement> judgements;
  if (!json["judgements"].is_array()) invalid("\"judgements\" is no array");
  for (const Json& from : json["judgements"]) {
    if (!from.is_object() || !from.contains("query") || !from.contains("id")) {
      invalid("a judgement without \"query\" or \"id\"");
    }
    io::Judgement judgement;
    judgement.query = size_member(from, "query", 0, 0, queries->rows() - 1);
    judgement.id = id_of(from["id"], "a judgement's \"id\"");
    judgement.grade = static_cast<int>(size_member(from, "grade", 1, 0, 100));
    judgements.push_back(judgement);
  }
  return accepted(collection.train(
      [queries, judgements = std::move(judgements)](const GraphSnapshot&) {
        TrainingData data;
        data.queries = *queries;
        data.judgements = judgements;
        return data;
      },
      options));
}

std::string Api::metrics_text() {
  std::ostringstream out;
  out << metrics_.text();
  out << "# HELP halo_waiting_requests Requests waiting for their turn.\n"
         "# TYPE halo_waiting_requests gauge\nhalo_waiting_requests "
      << slots_.waiting() << '\n';
  const auto gauge = [&](const char* name, const char* type, const char* help, auto&& value) {
    out << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
    for (const std::string& collection : catalog_.names()) {
      if (!catalog_.has(collection)) continue;
      out << name << "{collection=\"" << collection << "\"} "
          << value(catalog_.get(collection)->stats()) << '\n';
    }
  };
  using Stats = Collection::Stats;
  gauge("halo_vectors", "gauge", "Vectors that live.", [](const Stats& s) { return s.vectors; });
  gauge("halo_unsettled", "gauge", "Vectors written or removed since the last settle.",
        [](const Stats& s) { return s.unsettled; });
  gauge("halo_logged_writes", "gauge", "Writes in the log since the index was saved.",
        [](const Stats& s) { return s.logged; });
  gauge("halo_writes_total", "counter", "Writes acknowledged.",
        [](const Stats& s) { return s.writes; });
  gauge("halo_commits_total", "counter", "Commits: writes that arrive together share one.",
        [](const Stats& s) { return s.commits; });
  gauge("halo_writable", "gauge", "0 where a logged write could not be applied.",
        [](const Stats& s) { return s.writable ? 1 : 0; });
  return out.str();
}

}  // namespace halo::service
