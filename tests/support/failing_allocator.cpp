#include "support/failing_allocator.h"

#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <new>

// What --wrap leaves of the C library's functions, or of a sanitizer's in their place.
// NOLINTBEGIN(bugprone-reserved-identifier): the linker's names
extern "C" {
void* __real_malloc(std::size_t bytes);
void* __real_calloc(std::size_t count, std::size_t bytes);
void* __real_realloc(void* memory, std::size_t bytes);
void* __real_aligned_alloc(std::size_t alignment, std::size_t bytes);
void __real_free(void* memory);
}

namespace halo::test {
namespace {

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
std::atomic<std::size_t> left{kNever};
std::atomic<bool> any_failed{false};
std::atomic<bool> once{false};

std::atomic<std::int64_t> in_use{0}, most{0};

void* count(void* memory) {
  if (memory == nullptr) return nullptr;
  const auto bytes = static_cast<std::int64_t>(malloc_usable_size(memory));
  const std::int64_t now = in_use.fetch_add(bytes, std::memory_order_relaxed) + bytes;
  std::int64_t before = most.load(std::memory_order_relaxed);
  while (now > before && !most.compare_exchange_weak(before, now, std::memory_order_relaxed)) {
  }
  return memory;
}

void discount(void* memory) {
  if (memory == nullptr) return;
  in_use.fetch_sub(static_cast<std::int64_t>(malloc_usable_size(memory)),
                   std::memory_order_relaxed);
}

void release(void* memory) {
  discount(memory);
  __real_free(memory);
}

bool fails() {
  std::size_t now = left.load(std::memory_order_relaxed);
  for (;;) {
    if (now == kNever) return false;
    // At 0 this one fails; so do later ones, unless it is the only one.
    const std::size_t next = now != 0 ? now - 1 : once ? kNever : 0;
    if (!left.compare_exchange_weak(now, next)) continue;
    if (now == 0) any_failed = true;
    return now == 0;
  }
}

void* allocate(std::size_t bytes) {
  void* memory = fails() ? nullptr : count(__real_malloc(bytes == 0 ? 1 : bytes));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

void* allocate(std::size_t bytes, std::align_val_t alignment) {
  const auto line = static_cast<std::size_t>(alignment);
  const std::size_t rounded = (bytes + line - 1) / line * line;
  void* memory =
      fails() ? nullptr : count(__real_aligned_alloc(line, rounded == 0 ? line : rounded));
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}

}  // namespace

FailingAllocations::FailingAllocations(std::size_t after, Failing how) {
  any_failed = false;
  once = how == Failing::kOnce;
  left = after;
}
FailingAllocations::~FailingAllocations() { left = kNever; }
bool FailingAllocations::failed() const { return any_failed; }

MeasuredMemory::MeasuredMemory() : begin_(in_use) { most = begin_; }
std::size_t MeasuredMemory::now() const {
  return static_cast<std::size_t>(std::max<std::int64_t>(0, in_use - begin_));
}
std::size_t MeasuredMemory::peak() const { return static_cast<std::size_t>(most - begin_); }

}  // namespace halo::test

using halo::test::count;
using halo::test::fails;
using halo::test::release;

extern "C" {
void* __wrap_malloc(std::size_t bytes) { return fails() ? nullptr : count(__real_malloc(bytes)); }
void* __wrap_calloc(std::size_t n, std::size_t bytes) {
  return fails() ? nullptr : count(__real_calloc(n, bytes));
}
void* __wrap_realloc(void* memory, std::size_t bytes) {
  if (fails()) return nullptr;
  halo::test::discount(memory);
  void* moved = __real_realloc(memory, bytes);
  count(moved != nullptr || bytes == 0 ? moved : memory);
  return moved;
}
void* __wrap_aligned_alloc(std::size_t alignment, std::size_t bytes) {
  return fails() ? nullptr : count(__real_aligned_alloc(alignment, bytes));
}
void __wrap_free(void* memory) { release(memory); }
}
// NOLINTEND(bugprone-reserved-identifier)

void* operator new(std::size_t bytes) { return halo::test::allocate(bytes); }
void* operator new[](std::size_t bytes) { return halo::test::allocate(bytes); }
void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return halo::test::allocate(bytes, alignment);
}
void* operator new[](std::size_t bytes, std::align_val_t alignment) {
  return halo::test::allocate(bytes, alignment);
}
// A sanitizer's own of these would not go with the delete below.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return fails() ? nullptr : count(__real_malloc(bytes == 0 ? 1 : bytes));
}
void* operator new[](std::size_t bytes, const std::nothrow_t& tag) noexcept {
  return operator new(bytes, tag);
}
void operator delete(void* p) noexcept { release(p); }
void operator delete[](void* p) noexcept { release(p); }
void operator delete(void* p, std::size_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t) noexcept { release(p); }
void operator delete(void* p, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::align_val_t) noexcept { release(p); }
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { release(p); }
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { release(p); }
