// What the API answers: JSON text of results, items, collections and jobs.
//
// Thread-safe: pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "halo/integration/node_attention.h"
#include "halo/integration/service/api_requests.h"
#include "halo/integration/service/collection.h"

namespace halo::service {

/// Where the time of a search went before it began.
struct SearchWait {
  double turn_seconds = 0;   ///< until there was a compute slot
  double parse_seconds = 0;  ///< of the body
};
std::string results_json(const BatchResults& results, const SearchRequest& request,
                         const Collection& collection, const SearchWait& wait);

/// {"items": [...], "last": id}; metadata are JSON text.
std::string item_list_json(std::span<const std::pair<Id, std::string>> items);
/// One item; with its vector where `vector` is not empty.
std::string item_json(Id id, const std::string& metadata, std::span<const float> vector);

nlohmann::ordered_json collection_json(const std::string& name, const Collection& collection);
nlohmann::ordered_json job_json(const Collection::Job& job);
nlohmann::ordered_json neighbours_json(Id id, std::size_t layer, std::size_t layers,
                                       const NodeAttention& node);

}  // namespace halo::service
