#include "halo/integration/service/api.h"

#include <algorithm>
#include <limits>
#include <map>
#include <new>
#include <optional>
#include <sstream>
#include <unordered_map>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/version.h"
#include "halo/integration/node_attention.h"
#include "halo/integration/service/api_answers.h"
#include "halo/integration/service/api_requests.h"
#include "halo/integration/service/page_files.h"

namespace halo::service {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t kMaxListed = 1000, kMaxLayer = 64;

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

ApiResponse json_response(const OrderedJson& json, int status = 200) {
  ApiResponse response;
  response.status = status;
  // A message may quote bytes of the request that are no UTF-8.
  response.body = json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  return response;
}

// JSON that is text already.
ApiResponse text_response(std::string text) {
  ApiResponse response;
  response.body = std::move(text);
  return response;
}

Id id_in_path(const std::string& text) {
  const auto id = whole_number(text);
  if (!id) {
    throw Error(ErrorCode::kInvalidArgument,
                "\"" + text + "\" is no id: a whole number of at least 0");
  }
  return *id;
}

std::size_t query_number(const ApiRequest& request, std::string_view name, std::size_t fallback,
                         std::size_t most) {
  const auto at = request.query.find(name);
  if (at == request.query.end()) return fallback;
  const auto value = whole_number(at->second);
  if (!value || static_cast<std::uint64_t>(*value) > most) {
    throw Error(ErrorCode::kInvalidArgument,
                std::string(name) + " is no whole number from 0 to " + std::to_string(most));
  }
  return static_cast<std::size_t>(*value);
}

Error unknown_item(Id id) {
  return {ErrorCode::kUnknownId, "there is no item " + std::to_string(id)};
}

[[noreturn]] void nothing_here() {
  throw Refusal{404, "not_found", "there is nothing at this path; see /openapi.json"};
}

[[noreturn]] void wrong_method(const ApiRequest& request) {
  throw Refusal{405, "method", "this path does not take " + request.method};
}

bool reads(const ApiRequest& request) {
  return request.method == "GET" || request.method == "HEAD";
}

IdFilter filter_of(const Collection& collection, const MetadataFilter& wanted) {
  IdFilter filter;
  if (wanted.empty()) return filter;
  const MetadataTable& table = collection.metadata();
  const auto rows = table.matching(wanted);
  filter.allows = [&table, rows](Id id) { return table.passes(rows, id); };
  filter.nodes = [&table, rows](const std::shared_ptr<const GraphSnapshot>& snapshot) {
    return table.nodes(rows, snapshot);
  };
  return filter;
}

// A class a value of the field; -1 for items without it.
TrainingData labels_of_field(const Collection& collection, const GraphSnapshot& snapshot,
                             const std::string& field) {
  std::unordered_map<Id, std::int64_t> classes;
  std::map<std::string, std::int64_t> numbers;
  for (const auto& [id, text] : collection.items(0, std::numeric_limits<std::size_t>::max())) {
    const Json metadata = Json::parse(text);
    const auto at = metadata.find(field);
    if (at == metadata.end() || at->is_null()) continue;
    const auto next = static_cast<std::int64_t>(numbers.size());
    classes[id] = numbers.try_emplace(at->dump(), next).first->second;
  }
  if (numbers.empty()) throw Error(ErrorCode::kEmpty, "no item has the field \"" + field + "\"");
  TrainingData data;
  for (const Id id : snapshot.ids()) {
    const auto at = classes.find(id);
    data.labels.push_back(at == classes.end() ? -1 : at->second);
  }
  return data;
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

ApiResponse accepted(std::uint64_t job) {
  return json_response({{"job", job}, {"state", "waiting"}}, 202);
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
  bool is(std::size_t length, std::string_view first) const {
    return further.size() == length && further[0] == first;
  }
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
      slots_(options.slots != 0 ? options.slots : 2 * Executor(0).threads(), options.queue) {}

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
  if (request.path == "/livez" || request.path == "/readyz") {
    kind = Route::kProbe;
    const bool fine = request.path == "/livez" || ready_;
    return json_response({{"status", fine ? "ok" : "not ready"}, {"version", HALO_VERSION_STRING}},
                         fine ? 200 : 503);
  }
  require_known_host(request);
  if (reads(request)) {
    if (auto page = page_route(request, kind)) return std::move(*page);
  }
  const std::vector<std::string> parts = parts_of(request.path);
  if (parts.empty() || parts[0] != "collections") nothing_here();
  if (!ready_) throw Refusal{503, "not_ready", "the service is loading, or about to end"};
  if (parts.size() == 1 || (parts.size() == 2 && parts[1].empty())) {
    if (!reads(request)) wrong_method(request);
    kind = Route::kRead;
    require(request, false);
    OrderedJson list = OrderedJson::array();
    for (const std::string& name : catalog_.names()) {
      if (catalog_.has(name)) list.push_back(collection_json(name, *catalog_.get(name)));
    }
    return json_response({{"collections", list}});
  }
  const Target target{parts[1], {parts.begin() + 2, parts.end()}};
  const bool searching = target.is(1, "search") && request.method == "POST";
  // Before anything is said about what exists.
  require(request, !reads(request) && !searching);
  kind = searching ? Route::kSearch : reads(request) ? Route::kRead : Route::kAdmin;
  if (target.further.empty() && request.method == "PUT") {
    const auto made = catalog_.create(target.name, read_collection(request.body));
    return json_response(collection_json(target.name, *made), 201);
  }
  const auto collection = catalog_.get(target.name);
  if (searching) return search(request, *collection);
  if (target.further.empty()) return whole_route(request, target.name, *collection);
  if (target.further[0] == "items") return items_route(request, target, *collection, kind);
  return jobs_route(request, target, *collection);
}

void Api::require_known_host(const ApiRequest& request) const {
  if (options_.hosts.empty()) return;
  const std::string name = request.host.substr(0, request.host.rfind(':'));
  const auto known = [&](const std::string& host) {
    return std::find(options_.hosts.begin(), options_.hosts.end(), host) != options_.hosts.end();
  };
  if (!known(name) && !known(request.host)) {
    throw Refusal{403, "forbidden", "this service answers to localhost only"};
  }
}

// The page's files, the OpenAPI document and the metrics; nothing for any other path.
std::optional<ApiResponse> Api::page_route(const ApiRequest& request, Route& kind) {
  if (request.path.empty()) return std::nullopt;
  if (request.path == "/metrics") {
    kind = Route::kProbe;
    require(request, false);
    ApiResponse response = text_response(metrics_text());
    response.type = "text/plain; version=0.0.4";
    return response;
  }
  if (request.path == "/openapi.json") {
    kind = Route::kPage;
    return text_response(std::string(openapi_document()));
  }
  const std::string_view file = request.path == "/" ? std::string_view("index.html")
                                                    : std::string_view(request.path).substr(1);
  for (const PageFile& page : page_files()) {
    if (page.name != file) continue;
    kind = Route::kPage;
    ApiResponse response = text_response(std::string(page.content));
    response.type = page.type;
    response.headers["Content-Security-Policy"] =
        "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'";
    return response;
  }
  return std::nullopt;
}

// /collections/{name}
ApiResponse Api::whole_route(const ApiRequest& request, const std::string& name,
                             const Collection& collection) {
  if (reads(request)) return json_response(collection_json(name, collection));
  if (request.method != "DELETE") wrong_method(request);
  catalog_.erase(name);
  return json_response({{"deleted", name}});
}

// /collections/{name}/items...
ApiResponse Api::items_route(const ApiRequest& request, const Target& target,
                             Collection& collection, Route& kind) {
  const bool post = request.method == "POST";
  if (!reads(request)) kind = Route::kWrite;
  if (target.is(1, "items")) {
    if (post) return upsert(request, collection);
    if (!reads(request)) wrong_method(request);
    const auto first = static_cast<Id>(
        query_number(request, "from", 0, static_cast<std::size_t>(std::numeric_limits<Id>::max())));
    const std::size_t limit = query_number(request, "limit", 100, kMaxListed);
    return text_response(item_list_json(collection.items(first, std::max<std::size_t>(limit, 1))));
  }
  if (target.is(2, "items") && target.further[1] == "delete" && post) {
    return json_response({{"removed", collection.remove(read_ids(request.body))}});
  }
  if (target.is(2, "items")) {
    const Id id = id_in_path(target.further[1]);
    if (reads(request)) return one_item(request, id, collection);
    if (request.method != "DELETE") wrong_method(request);
    if (collection.remove(std::span(&id, 1)) == 0) throw unknown_item(id);
    return json_response({{"removed", 1}});
  }
  if (!target.is(3, "items") || target.further[2] != "neighbours") nothing_here();
  if (!reads(request)) wrong_method(request);
  return neighbours(request, id_in_path(target.further[1]), collection);
}

// What takes long: refine, train and settle, and the jobs that do it.
ApiResponse Api::jobs_route(const ApiRequest& request, const Target& target,
                            Collection& collection) {
  const auto& further = target.further;
  if (further[0] == "jobs" && further.size() <= 2) {
    if (!reads(request)) wrong_method(request);
    if (further.size() == 2) {
      const auto job = collection.job(static_cast<std::uint64_t>(id_in_path(further[1])));
      if (!job) throw Refusal{404, "not_found", "there is no such job"};
      return json_response(job_json(*job));
    }
    OrderedJson jobs = OrderedJson::array();
    for (const auto& job : collection.jobs()) jobs.push_back(job_json(job));
    return json_response({{"jobs", jobs}});
  }
  for (const std::string_view name : {"search", "refine", "train", "settle"}) {
    if (target.is(1, name) && request.method != "POST") wrong_method(request);
  }
  if (target.is(1, "refine")) return refine(request, collection);
  if (target.is(1, "train")) return train(request, collection);
  if (target.is(1, "settle")) return accepted(collection.settle());
  nothing_here();
}

ApiResponse Api::one_item(const ApiRequest& request, Id id, const Collection& collection) {
  const auto vector = collection.engine().vector(id);
  if (!vector) throw unknown_item(id);
  const bool with_vector = query_number(request, "vector", 0, 1) == 1;
  return text_response(
      item_json(id, collection.item(id).value_or("{}"),
                with_vector ? std::span<const float>(*vector) : std::span<const float>()));
}

ApiResponse Api::neighbours(const ApiRequest& request, Id id, const Collection& collection) {
  const auto engine = collection.engine().engine();
  if (!engine) throw Error(ErrorCode::kNotPrepared, "nothing is settled yet");
  const std::size_t layer = query_number(request, "layer", 0, kMaxLayer);
  const Turn turn(*this, Clock::now() + kDefaultDeadline);
  return json_response(neighbours_json(id, layer, engine->snapshot()->num_layers(),
                                       node_attention(*engine, id, layer)));
}

ApiResponse Api::search(const ApiRequest& request, Collection& collection) {
  const auto start = Clock::now();
  const Turn turn(*this, start + kDefaultDeadline);
  const auto parse_start = Clock::now();
  SearchRequest wanted = read_search(request.body, collection.engine().dim());
  const auto parsed = Clock::now();
  if (wanted.id) {
    const auto vector = collection.engine().vector(*wanted.id);
    if (!vector) throw unknown_item(*wanted.id);
    wanted.queries = Matrix::copy_of({vector->data(), 1, vector->size()});
  }
  wanted.options.observer = &metrics_;
  wanted.options.deadline = Deadline(start + wanted.time);
  const BatchResults results = collection.engine().search(wanted.queries, wanted.options, alone_,
                                                          {}, filter_of(collection, wanted.filter));
  if (wanted.options.refine != RefineMode::kOff) {
    for (std::size_t q = 0; q < wanted.queries.rows(); ++q) {
      collection.saw_query(wanted.queries.row_span(q));
    }
  }
  return text_response(
      results_json(results, wanted, collection,
                   {seconds_between(start, parse_start), seconds_between(parse_start, parsed)}));
}

ApiResponse Api::upsert(const ApiRequest& request, Collection& collection) {
  std::vector<ItemWrite> items;
  {
    const Turn turn(*this, Clock::now() + kDefaultDeadline);
    items = read_items(request.body);
  }
  const std::size_t count = items.size();
  collection.upsert(std::move(items));
  return json_response({{"written", count}});
}

ApiResponse Api::refine(const ApiRequest& request, Collection& collection) {
  RefineRequest wanted;
  {
    const Turn turn(*this, Clock::now() + kDefaultDeadline);
    wanted = read_refine(request.body, collection.engine().dim());
    if (!wanted.sample_queries.empty()) collection.engine().check_vectors(wanted.sample_queries);
  }
  if (collection.engine().size() == 0) throw Error(ErrorCode::kEmpty, "the collection is empty");
  return accepted(collection.refine(wanted.options, std::move(wanted.sample_queries)));
}

ApiResponse Api::train(const ApiRequest& request, Collection& collection) {
  const Turn turn(*this, Clock::now() + kDefaultDeadline);
  auto wanted =
      std::make_shared<const TrainRequest>(read_train(request.body, collection.engine().dim()));
  if (!wanted->label_field) collection.engine().check_vectors(wanted->queries);
  return accepted(collection.train(
      [&collection, wanted](const GraphSnapshot& snapshot) {
        if (wanted->label_field) return labels_of_field(collection, snapshot, *wanted->label_field);
        TrainingData data;
        data.queries = wanted->queries;
        data.judgements = wanted->judgements;
        return data;
      },
      wanted->options));
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
