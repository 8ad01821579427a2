#include "halo/core/aligned_memory.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <limits>

namespace halo {
namespace {

TEST(AlignedMemory, IsAlignedAndWritableAtEverySize) {
  for (const std::size_t bytes : {std::size_t{0}, std::size_t{1}, std::size_t{64},
                                  std::size_t{4095}, std::size_t{9} << 20U}) {
    const AlignedArray<char> memory(static_cast<char*>(allocate_aligned(bytes)));
    ASSERT_NE(memory, nullptr);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.get()) % 64, 0U);
    std::memset(memory.get(), 1, bytes);
  }
}

TEST(AlignedMemory, ImpossibleSizesGiveNull) {
  EXPECT_EQ(allocate_aligned(std::numeric_limits<std::size_t>::max()), nullptr);
  AlignedBuffer<double> buffer;
  EXPECT_THROW(buffer.resize(std::size_t{1} << 58U), std::bad_alloc);
  EXPECT_NE(buffer.resize(3), nullptr);
}

TEST(AlignedMemory, BuffersGrowAndStay) {
  AlignedBuffer<int> buffer;
  int* first = buffer.resize(100);
  EXPECT_EQ(buffer.resize(10), first);
  int* larger = buffer.resize(100000);
  larger[99999] = 5;
  EXPECT_EQ(buffer.resize(100000), larger);
}

}  // namespace
}  // namespace halo
