// A metric as one call between two stored vectors, and what a vector must satisfy to be stored or
// asked for.
//
// Thread-safety: values; safe from any thread. Private to the index room.
#pragma once

#include <cstddef>
#include <limits>

#include "halo/core/kernels/distance.h"
#include "halo/index/metric.h"

namespace halo::detail {

/// Distance between two vectors of `width` floats; under kCosine both are of unit length already.
/// `width` may count zero padding, which adds nothing and saves the kernels their tail.
struct MetricDistance {
  MetricDistance(Metric metric, std::size_t floats)
      : kernel(metric == Metric::kL2 ? kernels::l2_squared_kernel() : kernels::dot_kernel()),
        one_minus(metric != Metric::kL2),
        width(floats) {}

  float operator()(const float* a, const float* b) const {
    const float value = kernel(a, b, width);
    return one_minus ? 1.0F - value : value;
  }

  kernels::PairFn kernel;
  bool one_minus;
  std::size_t width;
};

/// Largest squared length of a stored vector or a query under kL2 and kInnerProduct: then no
/// distance between two of them overflows to infinity or NaN, which would break every ordering.
inline constexpr float kMaxSquaredLength = std::numeric_limits<float>::max() / 4;

/// A row's floats including padding to whole 64-byte lines.
inline std::size_t padded_width(std::size_t dim) { return (dim + 15) / 16 * 16; }

/// As store_vector(), but false where the vector cannot be stored.
bool try_store(Metric metric, const float* source, std::size_t dim, float* out);

/// Copies `dim` floats from `source` to `out` as the metric stores them (normalised under kCosine).
/// Throws kNonFinite or kZeroVector, naming `what`, where they cannot be.
void store_vector(Metric metric, const float* source, std::size_t dim, const char* what,
                  float* out);
/// The same for "<kind> <row>", which is only spelled out for an error.
void store_row(Metric metric, const float* source, std::size_t dim, const char* kind,
               std::size_t row, float* out);

}  // namespace halo::detail
