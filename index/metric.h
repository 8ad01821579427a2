// What "near" means to an index.
#pragma once

#include <cstdint>
#include <string_view>

#include "halo/core/matrix_view.h"

namespace halo {

/// Persisted in index files: numbers are never reused.
enum class Metric : std::uint32_t {
  kL2 = 1,            ///< distance = sum_i (a_i - b_i)^2
  kInnerProduct = 2,  ///< distance = 1 - <a, b>
  kCosine = 3,        ///< distance = 1 - <a, b> / (|a| |b|); vectors are stored normalised
};

/// "l2", "ip" or "cosine".
std::string_view metric_name(Metric metric) noexcept;
/// The inverse; throws kInvalidArgument for any other text.
Metric parse_metric(std::string_view name);

/// Throws kNonFinite or kZeroVector (kCosine), naming the row, where an index of this metric would
/// refuse one of the vectors [n, dim]. O(n dim).
void check_vectors(Metric metric, const MatrixView& vectors);

}  // namespace halo
