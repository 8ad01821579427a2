// The one exception type of halo, and the numbered reasons it carries.
//
// Thread-safety: immutable after construction.
// The numbers are part of the C API, the service and the command line: they are never reused or
// renumbered.
#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace halo {

enum class ErrorCode : int {
  kInvalidArgument = 1,     ///< an option or argument outside its documented range
  kDimensionMismatch = 2,   ///< vectors of another dimension than the index or the layer
  kNonFinite = 3,           ///< NaN or infinity in a vector
  kZeroVector = 4,          ///< a zero-norm vector where the metric needs a direction
  kEmpty = 5,               ///< no vector where at least one is needed
  kUnknownId = 6,           ///< an id or node that the index does not hold
  kDuplicateId = 7,         ///< an id given twice, or already stored
  kIo = 8,                  ///< the operating system refused a read or a write
  kNoSpace = 9,             ///< the disk is full or a quota is reached
  kCorrupt = 10,            ///< truncated, failed checksum or broken invariant
  kUnsupportedFormat = 11,  ///< not a file of this kind, or of a version this build does not read
  kNotPrepared = 12,        ///< refinement asked of an index that `refine` never prepared
  kModelMismatch = 13,      ///< a model of another dimension, metric or index
  kCancelled = 14,          ///< the caller's stop token was triggered
  kOutOfMemory = 15,        ///< an allocation failed, or a size cannot be represented
  kNotFound = 16,           ///< the named file does not exist
  kInternal = 17,           ///< a broken invariant of halo itself: please report it
  kNoGain = 18,             ///< training was refused: held-out queries do not gain by the model
  kMemoryLimit = 19,        ///< the work would take more memory than the caller's limit
};

/// Codes are 1 to kErrorCodes.
inline constexpr int kErrorCodes = 19;

/// The stable snake_case name of a code, as the command line prints it ("dimension_mismatch").
std::string_view error_code_name(ErrorCode code) noexcept;

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what) : std::runtime_error(what), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace halo
