#include "halo/integration/service/api_requests.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>
#include <limits>
#include <utility>

#include "halo/core/error.h"
#include "halo/integration/service/json_vectors.h"

namespace halo::service {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kMaxK = 1000, kMaxEf = 4096, kMaxBatch = 256, kMaxCandidates = 4096;
constexpr std::size_t kMaxItems = 4096, kMaxSamples = 4096, kMaxDim = 65'536;

[[noreturn]] void invalid(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, what);
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

const Json& array_member(const Json& json, const char* name) {
  const auto at = json.find(name);
  if (at == json.end() || !at->is_array()) invalid("\"" + std::string(name) + "\" is no array");
  return *at;
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

// No body is an object without members.
BodyWithVectors read_body(const std::string& body, const std::vector<std::string_view>& vectors) {
  return parse_body(body.empty() ? "{}" : body, vectors);
}

RefineMode refine_mode(const std::string& text) {
  if (text == "off") return RefineMode::kOff;
  if (text == "auto") return RefineMode::kAuto;
  if (text == "trained") return RefineMode::kTrained;
  invalid("\"refine\" is none of off, auto, trained");
}

// [rows, cols] with the shape checked.
Matrix matrix_of(const NumberRows& rows, std::size_t dim, const char* name) {
  if (rows.cols != dim) {
    throw Error(ErrorCode::kDimensionMismatch,
                "\"" + std::string(name) + "\": " + std::to_string(rows.cols) +
                    " numbers for a collection of dimension " + std::to_string(dim));
  }
  return Matrix::copy_of({rows.values.data(), rows.rows, rows.cols});
}

// The one of "vector", "vectors", "vector_base64" and "id" that is given.
void read_query(const BodyWithVectors& parsed, std::size_t dim, SearchRequest& request) {
  const Json& json = parsed.rest;
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
    request.id = id_of(json.at("id"), "\"id\"");
  }
}

ItemWrite read_item(Json& from) {
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
  return item;
}

io::Judgement read_judgement(const Json& from, std::size_t queries) {
  if (!from.is_object() || !from.contains("query") || !from.contains("id")) {
    invalid("a judgement without \"query\" or \"id\"");
  }
  io::Judgement judgement;
  judgement.query = size_member(from, "query", 0, 0, queries - 1);
  judgement.id = id_of(from["id"], "a judgement's \"id\"");
  judgement.grade = static_cast<int>(size_member(from, "grade", 1, 0, 100));
  return judgement;
}

}  // namespace

SearchRequest read_search(const std::string& body, std::size_t dim) {
  const BodyWithVectors parsed = read_body(body, {"vector", "vectors"});
  const Json& json = parsed.rest;
  only_members(json, {"vector_base64", "id", "k", "ef", "refine", "candidates", "filter",
                      "deadline_ms", "explain", "with_metadata"});
  SearchRequest request;
  read_query(parsed, dim, request);
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

std::vector<ItemWrite> read_items(const std::string& body) {
  Json json = read_body(body, {}).rest;
  only_members(json, {"items"});
  const std::size_t count = array_member(json, "items").size();
  if (count == 0 || count > kMaxItems) {
    invalid("\"items\" holds " + std::to_string(count) + ", not 1 to " + std::to_string(kMaxItems));
  }
  std::vector<ItemWrite> items;
  for (Json& from : json["items"]) items.push_back(read_item(from));
  return items;
}

std::vector<Id> read_ids(const std::string& body) {
  const Json json = read_body(body, {}).rest;
  only_members(json, {"ids"});
  const Json& list = array_member(json, "ids");
  if (list.size() > kMaxItems) invalid("\"ids\" holds more than " + std::to_string(kMaxItems));
  std::vector<Id> ids;
  for (const Json& id : list) ids.push_back(id_of(id, "an id"));
  return ids;
}

CollectionOptions read_collection(const std::string& body) {
  const Json json = read_body(body, {}).rest;
  only_members(json, {"dim", "metric", "M", "ef_construction", "seed"});
  CollectionOptions options;
  options.dim = size_member(json, "dim", 0, 1, kMaxDim);
  if (options.dim == 0) invalid("\"dim\" is needed");
  options.build.metric = parse_metric(string_member(json, "metric", "cosine"));
  options.build.M = size_member(json, "M", 16, 2, 256);
  options.build.ef_construction = size_member(json, "ef_construction", 200, 1, 4096);
  options.build.seed = size_member(json, "seed", 100, 0, std::numeric_limits<std::size_t>::max());
  return options;
}

RefineRequest read_refine(const std::string& body, std::size_t dim) {
  const BodyWithVectors parsed = read_body(body, {"sample_queries"});
  only_members(parsed.rest, {"window", "layers"});
  RefineRequest request;
  request.options.window = size_member(parsed.rest, "window", request.options.window, 0, 256);
  request.options.layers = size_member(parsed.rest, "layers", request.options.layers, 1, 8);
  const NumberRows& rows = parsed.vectors[0];
  if (!rows.given) return request;
  if (rows.rows > kMaxSamples) {
    invalid("\"sample_queries\": more than " + std::to_string(kMaxSamples));
  }
  request.sample_queries = matrix_of(rows, dim, "sample_queries");
  return request;
}

TrainRequest read_train(const std::string& body, std::size_t dim) {
  const BodyWithVectors parsed = read_body(body, {"queries"});
  const Json& json = parsed.rest;
  only_members(json, {"label_field", "judgements", "validation_fraction", "epochs"});
  TrainRequest request;
  request.options.epochs = size_member(json, "epochs", 0, 0, 10'000);
  if (const auto at = json.find("validation_fraction"); at != json.end()) {
    if (!at->is_number()) invalid("\"validation_fraction\" is no number");
    request.options.validation_fraction = at->get<double>();
  }
  request.options.validate();
  const NumberRows& queries = parsed.vectors[0];
  const bool labelled = json.contains("label_field"), judged = json.contains("judgements");
  if (labelled == judged || judged != queries.given) {
    invalid("either \"label_field\", or \"queries\" and \"judgements\" are needed");
  }
  if (labelled) {
    request.label_field = string_member(json, "label_field", "");
    return request;
  }
  request.queries = matrix_of(queries, dim, "queries");
  for (const Json& from : array_member(json, "judgements")) {
    request.judgements.push_back(read_judgement(from, queries.rows));
  }
  return request;
}

std::optional<std::int64_t> whole_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

}  // namespace halo::service
