// What fuzz targets share: taking typed pieces off an input, files in memory, and judging outcomes.
//
// Thread-safety: pure functions; a ByteTaker belongs to one thread.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

#include "halo/core/error.h"
#include "integration/io/memory_file_system.h"

namespace halo::fuzz {

using Input = std::span<const std::byte>;
using io::test::Bytes;
using io::test::MemoryFileSystem;

/// A finding: ends the process, in every build.
inline void check(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "finding: %s\n", what);
  std::abort();
}

/// Takes numbers and bytes off the front of an input; zeros after its end.
class ByteTaker {
 public:
  explicit ByteTaker(Input input) : rest_(input) {}
  bool empty() const { return rest_.empty(); }
  Input bytes(std::size_t count) {
    const Input taken = rest_.first(std::min(count, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }
  template <class T>
  T number() {
    T value{};
    const Input taken = bytes(sizeof(T));
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }
  std::size_t below(std::size_t bound) { return number<std::uint8_t>() % bound; }

 private:
  Input rest_;
};

inline Bytes copy_of(Input input) { return Bytes(input.begin(), input.end()); }

/// True where `read` returned; false where it refused the file as a reader may. Any other error,
/// one for exhausted memory among them, is a finding.
template <class Read>
bool accepts(Read&& read) {
  try {
    std::forward<Read>(read)();
    return true;
  } catch (const Error& error) {
    const ErrorCode code = error.code();
    const bool typed = code == ErrorCode::kCorrupt || code == ErrorCode::kUnsupportedFormat ||
                       code == ErrorCode::kEmpty || code == ErrorCode::kInvalidArgument ||
                       code == ErrorCode::kModelMismatch;
    if (!typed) std::fprintf(stderr, "%s\n", error.what());
    check(typed, "an error that no file may cause");
    return false;
  }
}

}  // namespace halo::fuzz
