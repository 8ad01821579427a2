#include "peak_memory.h"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <cstring>

// glibc's own allocator, behind the names that this file takes over.
extern "C" {
void* __libc_malloc(std::size_t);                 // NOLINT(bugprone-reserved-identifier)
void* __libc_calloc(std::size_t, std::size_t);    // NOLINT(bugprone-reserved-identifier)
void* __libc_realloc(void*, std::size_t);         // NOLINT(bugprone-reserved-identifier)
void* __libc_memalign(std::size_t, std::size_t);  // NOLINT(bugprone-reserved-identifier)
void __libc_free(void*);                          // NOLINT(bugprone-reserved-identifier)
}

namespace halo::bench {
namespace {

std::atomic<std::size_t> live{0}, peak{0}, start{0};

void* counted(void* memory) {
  if (memory == nullptr) return nullptr;
  const std::size_t size = malloc_usable_size(memory);
  const std::size_t now = live.fetch_add(size) + size;
  std::size_t before = peak.load();
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
  return memory;
}

void uncounted(void* memory) {
  if (memory != nullptr) live.fetch_sub(malloc_usable_size(memory));
}

}  // namespace

void reset_peak_memory() {
  start = live.load();
  peak = live.load();
}
std::size_t peak_memory() { return peak.load() - start.load(); }

void keep_freed_memory() {
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
}

}  // namespace halo::bench

extern "C" {
void* malloc(std::size_t size) { return halo::bench::counted(__libc_malloc(size)); }
void* calloc(std::size_t count, std::size_t size) {
  return halo::bench::counted(__libc_calloc(count, size));
}
void* realloc(void* memory, std::size_t size) {
  halo::bench::uncounted(memory);
  return halo::bench::counted(__libc_realloc(memory, size));
}
void* memalign(std::size_t alignment, std::size_t size) {
  return halo::bench::counted(__libc_memalign(alignment, size));
}
void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }
int posix_memalign(void** out, std::size_t alignment, std::size_t size) {
  *out = memalign(alignment, size);
  return *out == nullptr ? 12 : 0;  // ENOMEM
}
void free(void* memory) {
  halo::bench::uncounted(memory);
  __libc_free(memory);
}
}
