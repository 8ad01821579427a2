// What the bodies of requests ask for: JSON text in, a checked struct out.
//
// Everything here is input from strangers. Each reader throws kInvalidArgument (kDimensionMismatch
// for vectors of another length), naming the member that is wrong; unknown members are wrong too.
//
// Thread-safe: pure functions.
#pragma once

#include <chrono>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "halo/integration/service/collection.h"

namespace halo::service {

constexpr std::chrono::milliseconds kDefaultDeadline{10'000}, kLongestDeadline{60'000};

struct SearchRequest {
  Matrix queries;        ///< empty where `id` is given
  std::optional<Id> id;  ///< the query is the vector of this item
  bool single = true;    ///< false for "vectors", whose answer is an array
  QueryOptions options;
  MetadataFilter filter;
  bool with_metadata = false;
  std::chrono::milliseconds time{0};
};
SearchRequest read_search(const std::string& body, std::size_t dim);

/// The items of an upsert, 1 to 4,096; their ids and vectors are checked by Collection::upsert.
std::vector<ItemWrite> read_items(const std::string& body);
std::vector<Id> read_ids(const std::string& body);
CollectionOptions read_collection(const std::string& body);

struct RefineRequest {
  gnn::RefineOptions options;
  Matrix sample_queries;  ///< empty where none were given
};
RefineRequest read_refine(const std::string& body, std::size_t dim);

/// Labels are an item's metadata field, or judged queries.
struct TrainRequest {
  TrainOptions options;
  std::optional<std::string> label_field;
  Matrix queries;
  std::vector<io::Judgement> judgements;
};
TrainRequest read_train(const std::string& body, std::size_t dim);

/// A whole number of at least 0 and nothing else.
std::optional<std::int64_t> whole_number(std::string_view text);

}  // namespace halo::service
