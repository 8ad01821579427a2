#include "halo/integration/service/metadata.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "halo/core/error.h"

namespace halo::service {
namespace {

using Json = nlohmann::json;

constexpr std::size_t kLongestString = 256;
constexpr std::size_t kMostConditions = 32;
constexpr std::size_t kMostFields = 256;
constexpr double kInfinity = std::numeric_limits<double>::infinity();

[[noreturn]] void refuse(const std::string& what) {
  throw Error(ErrorCode::kInvalidArgument, "filter: " + what);
}

void require_scalar(const std::string& field, const Json& value) {
  if (!value.is_string() && !value.is_number() && !value.is_boolean()) {
    refuse("\"" + field + "\" is compared with what is no string, number or truth value");
  }
}

}  // namespace

MetadataFilter MetadataFilter::parse(const Json& json) {
  MetadataFilter filter;
  if (json.is_null()) return filter;
  if (!json.is_object()) refuse("it is no object");
  if (json.size() > kMostConditions) refuse("more than 32 fields");
  for (const auto& [field, wanted] : json.items()) {
    Condition condition;
    condition.field = field;
    if (!wanted.is_object()) {
      require_scalar(field, wanted);
      condition.values.push_back(wanted);
    } else {
      condition.low = -kInfinity;
      condition.high = kInfinity;
      if (wanted.empty()) refuse("\"" + field + "\" has no condition");
      for (const auto& [operation, value] : wanted.items()) {
        if (operation == "eq") {
          require_scalar(field, value);
          condition.values.push_back(value);
        } else if (operation == "in") {
          if (!value.is_array() || value.empty() || value.size() > 1000) {
            refuse("\"" + field + "\": in takes a list of 1 to 1,000 values");
          }
          for (const Json& one : value) {
            require_scalar(field, one);
            condition.values.push_back(one);
          }
        } else if (operation == "gt" || operation == "gte" || operation == "lt" ||
                   operation == "lte") {
          if (!value.is_number()) refuse("\"" + field + "\": " + operation + " takes a number");
          condition.range = true;
          const bool low = operation[0] == 'g', open = operation.size() == 2;
          (low ? condition.low : condition.high) = value.get<double>();
          (low ? condition.low_open : condition.high_open) = open;
        } else {
          refuse("\"" + field + "\": there is no operation \"" + operation +
                 "\"; use eq, in, gt, gte, lt, lte");
        }
      }
      if (condition.range && !condition.values.empty()) {
        refuse("\"" + field + "\" has both a range and values");
      }
    }
    filter.conditions_.push_back(std::move(condition));
  }
  return filter;
}

void MetadataTable::Column::set(std::size_t row, const Json& value) {
  Kind kind = Kind::kNone;
  double stored = 0;
  if (value.is_boolean()) {
    kind = Kind::kBool;
    stored = value.get<bool>() ? 1 : 0;
  } else if (value.is_number()) {
    kind = Kind::kNumber;
    stored = value.get<double>();
  } else if (value.is_string() && value.get_ref<const std::string&>().size() <= kLongestString) {
    kind = Kind::kString;
    stored = strings.try_emplace(value.get<std::string>(), static_cast<double>(strings.size()))
                 .first->second;
  }
  if (kind == Kind::kNone && row >= kinds.size()) return;
  if (row >= kinds.size()) {
    kinds.resize(row + 1, Kind::kNone);
    values.resize(row + 1, 0.0);
  }
  kinds[row] = kind;
  values[row] = stored;
}

std::uint32_t MetadataTable::row_of(Id id) {
  return rows_.try_emplace(id, static_cast<std::uint32_t>(rows_.size())).first->second;
}

void MetadataTable::put(Id id, const Json& metadata) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t row = row_of(id);
  for (auto& [field, column] : columns_) {
    if (!metadata.contains(field)) column.set(row, nullptr);
  }
  for (const auto& [field, value] : metadata.items()) {
    if (value.is_structured()) continue;
    auto at = columns_.find(field);
    if (at == columns_.end()) {
      if (columns_.size() >= kMostFields) continue;  // stored, but not to be filtered on
      at = columns_.emplace(field, Column{}).first;
    }
    at->second.set(row, value);
  }
}

void MetadataTable::touch(Id id, bool clear) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t row = row_of(id);
  if (!clear) return;
  for (auto& [field, column] : columns_) column.set(row, nullptr);
}

bool MetadataTable::matches(const MetadataFilter::Condition& condition, const Column& column,
                            std::size_t row) const {
  if (condition.range) {
    if (row >= column.kinds.size() || column.kinds[row] != Kind::kNumber) return false;
    const double value = column.values[row];
    return (condition.low_open ? value > condition.low : value >= condition.low) &&
           (condition.high_open ? value < condition.high : value <= condition.high);
  }
  return std::any_of(condition.values.begin(), condition.values.end(), [&](const Json& wanted) {
    if (wanted.is_boolean()) return column.is(row, Kind::kBool, wanted.get<bool>() ? 1 : 0);
    if (wanted.is_number()) return column.is(row, Kind::kNumber, wanted.get<double>());
    const auto at = column.strings.find(wanted.get_ref<const std::string&>());
    return at != column.strings.end() && column.is(row, Kind::kString, at->second);
  });
}

MetadataTable::Rows MetadataTable::matching(const MetadataFilter& filter) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const std::size_t count = rows_.size();
  auto bits = std::make_shared<std::vector<std::uint64_t>>((count + 63) / 64, ~std::uint64_t{0});
  for (const auto& condition : filter.conditions_) {
    const auto column = columns_.find(condition.field);
    if (column == columns_.end()) {
      std::fill(bits->begin(), bits->end(), 0);
      break;
    }
    for (std::size_t row = 0; row < count; ++row) {
      if ((*bits)[row / 64] == 0) {
        row |= 63U;
        continue;
      }
      if (!matches(condition, column->second, row)) {
        (*bits)[row / 64] &= ~(std::uint64_t{1} << row % 64);
      }
    }
  }
  return bits;
}

bool MetadataTable::passes(const Rows& rows, Id id) const {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto at = rows_.find(id);
  return at != rows_.end() && at->second / 64 < rows->size() &&
         ((*rows)[at->second / 64] >> at->second % 64 & 1U) != 0;
}

Filter MetadataTable::nodes(const Rows& rows,
                            const std::shared_ptr<const GraphSnapshot>& snapshot) const {
  std::shared_ptr<const std::vector<std::uint32_t>> node_rows;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (known_snapshot_.lock() != snapshot) {
      auto fresh = std::make_shared<std::vector<std::uint32_t>>();
      fresh->reserve(snapshot->size());
      for (const Id id : snapshot->ids()) fresh->push_back(rows_.at(id));
      known_snapshot_ = snapshot;
      node_rows_ = std::move(fresh);
    }
    node_rows = node_rows_;
  }
  auto bits = std::make_shared<std::vector<std::uint64_t>>((snapshot->size() + 63) / 64);
  for (std::size_t node = 0; node < snapshot->size(); ++node) {
    const std::uint32_t row = (*node_rows)[node];
    const bool passes = row / 64 < rows->size() && ((*rows)[row / 64] >> row % 64 & 1U) != 0;
    (*bits)[node / 64] |= std::uint64_t{passes} << node % 64;
  }
  return Filter::of_bits(std::move(bits));
}

std::vector<std::string> MetadataTable::fields() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::vector<std::string> names;
  for (const auto& [field, column] : columns_) names.push_back(field);
  return names;
}

}  // namespace halo::service
