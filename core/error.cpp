#include "halo/core/error.h"

namespace halo {

std::string_view error_code_name(ErrorCode code) noexcept {
  switch (code) {
    case ErrorCode::kInvalidArgument:
      return "invalid_argument";
    case ErrorCode::kDimensionMismatch:
      return "dimension_mismatch";
    case ErrorCode::kNonFinite:
      return "non_finite";
    case ErrorCode::kZeroVector:
      return "zero_vector";
    case ErrorCode::kEmpty:
      return "empty";
    case ErrorCode::kUnknownId:
      return "unknown_id";
    case ErrorCode::kDuplicateId:
      return "duplicate_id";
    case ErrorCode::kIo:
      return "io";
    case ErrorCode::kNoSpace:
      return "no_space";
    case ErrorCode::kCorrupt:
      return "corrupt";
    case ErrorCode::kUnsupportedFormat:
      return "unsupported_format";
    case ErrorCode::kNotPrepared:
      return "not_prepared";
    case ErrorCode::kModelMismatch:
      return "model_mismatch";
    case ErrorCode::kCancelled:
      return "cancelled";
    case ErrorCode::kOutOfMemory:
      return "out_of_memory";
    case ErrorCode::kNotFound:
      return "not_found";
    case ErrorCode::kInternal:
      return "internal";
    case ErrorCode::kNoGain:
      return "no_gain";
    case ErrorCode::kMemoryLimit:
      return "memory_limit";
  }
  return "unknown";
}

}  // namespace halo
