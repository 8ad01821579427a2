#include "halo/index/detail/metric_distance.h"

#include <algorithm>
#include <string>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"

namespace halo::detail {
namespace {

enum class Fault { kNone, kNonFinite, kTooLong, kZero };

Fault store(Metric metric, const float* source, std::size_t dim, float* out) {
  if (!kernels::all_finite(source, dim)) return Fault::kNonFinite;
  if (metric != Metric::kCosine) {
    if (!(kernels::dot(source, source, dim) <= kMaxSquaredLength)) return Fault::kTooLong;
    std::copy_n(source, dim, out);
    return Fault::kNone;
  }
  std::copy_n(source, dim, out);
  return kernels::normalise(out, dim) == 0.0F ? Fault::kZero : Fault::kNone;
}

void fail(Fault fault, const std::string& what) {
  switch (fault) {
    case Fault::kNone:
      return;
    case Fault::kNonFinite:
      throw Error(ErrorCode::kNonFinite, what + " holds NaN or infinity");
    case Fault::kTooLong:
      throw Error(ErrorCode::kNonFinite, what + " is too long: its distances would be infinite");
    case Fault::kZero:
      throw Error(ErrorCode::kZeroVector, what + " has no length, so no cosine");
  }
}

}  // namespace

bool try_store(Metric metric, const float* source, std::size_t dim, float* out) {
  return store(metric, source, dim, out) == Fault::kNone;
}

void store_vector(Metric metric, const float* source, std::size_t dim, const char* what,
                  float* out) {
  const Fault fault = store(metric, source, dim, out);
  if (fault != Fault::kNone) fail(fault, what);
}

void store_row(Metric metric, const float* source, std::size_t dim, const char* kind,
               std::size_t row, float* out) {
  const Fault fault = store(metric, source, dim, out);
  if (fault != Fault::kNone) fail(fault, std::string(kind) + " " + std::to_string(row));
}

}  // namespace halo::detail
