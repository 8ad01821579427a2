// Vectors in JSON text, read at the speed of the numbers: a general JSON reader would take longer
// for a query's 784 numbers than the search does.
//
// Thread-safe: pure functions.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace halo::service {

/// Numbers [rows, cols] that were an array of numbers, or an array of such arrays.
struct NumberRows {
  bool given = false;
  bool nested = false;  ///< an array of arrays
  std::size_t rows = 0, cols = 0;
  std::vector<float> values;
};

/// A JSON object whose members `names` (of the object itself) are arrays of numbers or of equally
/// long arrays of numbers: those are taken out, in the order of `names`, and `rest` is what is
/// left.
struct BodyWithVectors {
  nlohmann::json rest;
  std::vector<NumberRows> vectors;
};

/// Throws kInvalidArgument, saying where, for text that is no JSON object, for members of another
/// shape, and for numbers that no float can hold.
BodyWithVectors parse_body(std::string_view text, const std::vector<std::string_view>& names);

/// The numbers of one array in `json`; throws kInvalidArgument naming `what`.
std::vector<float> numbers_of(const nlohmann::json& json, const std::string& what);

/// Little-endian float32 in base64. Throws kInvalidArgument.
std::vector<float> floats_of_base64(std::string_view text);

}  // namespace halo::service
