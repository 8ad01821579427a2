#include "halo/core/out_of_memory.h"

#include <gtest/gtest.h>

#include <string>

#include "support/test_support.h"

namespace halo {
namespace {

TEST(OutOfMemory, SaysWhatCouldNotBeDone) {
  test::expect_error(ErrorCode::kOutOfMemory, "no memory to add 7 vectors", [] {
    throw_out_of_memory([] { return "no memory to add " + std::to_string(7) + " vectors"; });
  });
}

TEST(OutOfMemory, IsTypedAlsoWithoutMemoryForItsMessage) {
  test::expect_error(ErrorCode::kOutOfMemory, "out of memory",
                     [] { throw_out_of_memory([]() -> std::string { throw std::bad_alloc(); }); });
}

}  // namespace
}  // namespace halo
