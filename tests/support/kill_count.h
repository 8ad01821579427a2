// How often a kill test kills: its own number, or what scripts/kill_loop asks for.
//
// Thread-safety: pure function.
#pragma once

#include <cstdlib>

namespace halo::test {

inline int kill_count(const char* variable, int otherwise) {
  const char* asked = std::getenv(variable);
  return asked == nullptr ? otherwise : std::atoi(asked);
}

}  // namespace halo::test
