// Numbers of a bundle's JSON manifests: JSON also holds negative, fractional and absurdly large
// ones, which no size or option may be.
//
// Thread-safe: pure functions.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>

#include "halo/core/error.h"

namespace halo::io {

/// Throws kCorrupt unless it is a whole number of at least 0.
inline std::uint64_t count_of(const nlohmann::json& json) {
  if (!json.is_number_unsigned()) throw Error(ErrorCode::kCorrupt, "not a count: " + json.dump());
  return json.get<std::uint64_t>();
}

/// Throws kCorrupt unless it is a number within float's range.
inline float real_of(const nlohmann::json& json) {
  const double value =
      json.is_number() ? json.get<double>() : std::numeric_limits<double>::infinity();
  if (!(std::abs(value) <= std::numeric_limits<float>::max())) {
    throw Error(ErrorCode::kCorrupt, "not a number: " + json.dump());
  }
  return static_cast<float>(value);
}

}  // namespace halo::io
