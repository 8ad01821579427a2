#include "halo/integration/service/api_answers.h"

#include <charconv>
#include <cmath>
#include <type_traits>

namespace halo::service {
namespace {

using OrderedJson = nlohmann::ordered_json;

// Numbers as JSON has them; what JSON has no number for is null.
template <class Number>
void append_number(std::string& out, Number number) {
  if constexpr (std::is_floating_point_v<Number>) {
    if (!std::isfinite(number)) {
      out += "null";
      return;
    }
  }
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof(text), number).ptr);
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

void append_metadata(std::string& out, Id id, const Collection& collection) {
  out += ",\"metadata\":";
  out += collection.item(id).value_or("{}");
}

// The plain order of query q, of an explained search.
void append_plain(std::string& out, const BatchResults& results, std::size_t q,
                  const SearchRequest& request, const Collection& collection) {
  out += ",\"plain\":[";
  for (std::size_t i = q * results.k; i < (q + 1) * results.k && results.plain_ids[i] >= 0; ++i) {
    if (i != q * results.k) out += ',';
    out += "{\"id\":";
    append_number(out, results.plain_ids[i]);
    out += ",\"distance\":";
    append_number(out, results.plain_distances[i]);
    if (request.with_metadata) append_metadata(out, results.plain_ids[i], collection);
    out += '}';
  }
  out += ']';
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
    if (request.with_metadata) append_metadata(out, results.ids[i], collection);
    out += '}';
  }
  out += ']';
  if (request.options.explain) append_plain(out, results, q, request, collection);
}

OrderedJson near_json(std::span<const NodeAttention::Near> all) {
  OrderedJson list = OrderedJson::array();
  for (const auto& near : all) list.push_back({{"id", near.id}, {"distance", near.distance}});
  return list;
}

}  // namespace

std::string results_json(const BatchResults& results, const SearchRequest& request,
                         const Collection& collection, const SearchWait& wait) {
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
  stage(",\"timings_ms\":{\"wait\":", wait.turn_seconds);
  stage(",\"parse\":", wait.parse_seconds);
  stage(",\"search\":", results.search_seconds);
  stage(",\"refine\":", results.refine_seconds);
  stage(",\"total\":", results.wall_seconds + wait.parse_seconds + wait.turn_seconds);
  out += "}}";
  return out;
}

std::string item_list_json(std::span<const std::pair<Id, std::string>> items) {
  std::string out = "{\"items\":[";
  for (const auto& [id, metadata] : items) {
    if (out.back() == '}') out += ',';
    out += "{\"id\":" + std::to_string(id) + ",\"metadata\":" + metadata + "}";
  }
  return out + "],\"last\":" + (items.empty() ? "null" : std::to_string(items.back().first)) + "}";
}

std::string item_json(Id id, const std::string& metadata, std::span<const float> vector) {
  std::string out = "{\"id\":" + std::to_string(id) + ",\"metadata\":" + metadata;
  if (!vector.empty()) out += ",\"vector\":";
  for (std::size_t d = 0; d < vector.size(); ++d) {
    out += d == 0 ? '[' : ',';
    append_number(out, vector[d]);
  }
  return out + (vector.empty() ? "}" : "]}");
}

OrderedJson collection_json(const std::string& name, const Collection& collection) {
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

OrderedJson neighbours_json(Id id, std::size_t layer, std::size_t layers,
                            const NodeAttention& node) {
  OrderedJson json = {{"id", id},
                      {"level", node.level},
                      {"layers", layers},
                      {"layer", layer},
                      {"links", near_json(node.links)},
                      {"window", near_json(node.window)},
                      {"heads", OrderedJson::array()}};
  for (const auto& head : node.heads) {
    json["heads"].push_back(
        {{"name", head.name}, {"weight", head.weight}, {"attention", head.weights}});
  }
  return json;
}

}  // namespace halo::service
