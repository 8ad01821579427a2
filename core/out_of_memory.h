// Turns std::bad_alloc at a public entry into a halo::Error, also where there is no memory left for
// the error's message.
//
// Thread-safety: pure functions.
#pragma once

#include <new>
#include <string>

#include "halo/core/error.h"

namespace halo {

/// kOutOfMemory without a message of its own: needs no memory to be made.
class OutOfMemory : public Error {
 public:
  OutOfMemory() : Error(ErrorCode::kOutOfMemory, std::string()) {}
  const char* what() const noexcept override { return "out of memory"; }
};

/// Throws kOutOfMemory with the text that `message()` makes, or an OutOfMemory where it cannot be
/// made.
template <class Message>
[[noreturn]] void throw_out_of_memory(Message&& message) {
  try {
    throw Error(ErrorCode::kOutOfMemory, message());
  } catch (const std::bad_alloc&) {
    throw OutOfMemory();
  }
}

}  // namespace halo
