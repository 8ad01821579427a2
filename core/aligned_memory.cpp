#include "halo/core/aligned_memory.h"

#include <sys/mman.h>

#include <cstdint>

namespace halo {
namespace {

// No 64-bit process has more address space. Sanitised allocators abort on such sizes.
constexpr std::size_t kMostAddressable = std::size_t{1} << 47U;

}  // namespace

void* allocate_aligned(std::size_t bytes) noexcept {
  constexpr std::size_t kLine = 64, kPage = 4096, kWorthHugePages = std::size_t{1} << 22U;
  if (bytes > kMostAddressable) return nullptr;
  const std::size_t rounded = bytes == 0 ? kLine : (bytes + kLine - 1) / kLine * kLine;
  void* memory = std::aligned_alloc(kLine, rounded);
  if (memory != nullptr && rounded >= kWorthHugePages) {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): whole pages of it
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::size_t skipped = (kPage - address % kPage) % kPage;
    const std::size_t pages = (rounded - skipped) / kPage;
    // Advice: it may be refused.
    madvise(static_cast<char*>(memory) + skipped, pages * kPage, MADV_HUGEPAGE);
  }
  return memory;
}

}  // namespace halo
