// The fields of a collection's items in typed columns, and filters on them.
//
// A field may hold anything JSON can; strings of up to 256 bytes, numbers and true or false can be
// filtered on. An id gets a row when it is first written and keeps it.
//
// Thread-safety: everything may be called from any number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <string>
#include <unordered_map>
#include <vector>

#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo::service {

/// What an item must be to pass: all of its conditions, each on one field.
///   {"kind": "shoe", "price": {"gte": 10, "lt": 20}, "size": {"in": [41, 42]}}
class MetadataFilter {
 public:
  /// Throws kInvalidArgument, naming what is wrong.
  static MetadataFilter parse(const nlohmann::json& json);
  bool empty() const { return conditions_.empty(); }

 private:
  friend class MetadataTable;
  struct Condition {
    std::string field;
    bool range = false;
    double low = 0, high = 0;  // of a range
    bool low_open = false, high_open = false;
    std::vector<nlohmann::json> values;  // one of these
  };
  std::vector<Condition> conditions_;
};

class MetadataTable {
 public:
  /// Replaces what is known of `id`; `metadata` is an object.
  void put(Id id, const nlohmann::json& metadata);
  /// Makes sure that the id has a row; forgets its fields where `clear`.
  void touch(Id id, bool clear);

  /// Which rows pass, a bit each.
  using Rows = std::shared_ptr<const std::vector<std::uint64_t>>;
  Rows matching(const MetadataFilter& filter) const;
  bool passes(const Rows& rows, Id id) const;
  /// The same for the nodes of a snapshot whose ids all have rows.
  Filter nodes(const Rows& rows, const std::shared_ptr<const GraphSnapshot>& snapshot) const;

  std::vector<std::string> fields() const;

 private:
  enum class Kind : std::uint8_t { kNone, kNumber, kString, kBool };
  struct Column {
    std::vector<Kind> kinds;
    std::vector<double> values;  // a string's number in `strings`, 0 or 1 for false and true
    std::unordered_map<std::string, double> strings;
    void set(std::size_t row, const nlohmann::json& value);
    bool is(std::size_t row, Kind kind, double value) const {
      return row < kinds.size() && kinds[row] == kind && values[row] == value;
    }
  };
  std::uint32_t row_of(Id id);
  bool matches(const MetadataFilter::Condition& condition, const Column& column,
               std::size_t row) const;

  mutable std::mutex mutex_;
  std::unordered_map<Id, std::uint32_t> rows_;
  std::map<std::string, Column, std::less<>> columns_;
  // The rows of a snapshot's nodes, for the snapshot asked for last.
  mutable std::weak_ptr<const GraphSnapshot> known_snapshot_;
  mutable std::shared_ptr<const std::vector<std::uint32_t>> node_rows_;
};

}  // namespace halo::service
