#include "index/failing_allocator.h"

#include <atomic>
#include <cstdlib>
#include <limits>
#include <new>

namespace halo::test {
namespace {

constexpr std::size_t kNever = std::numeric_limits<std::size_t>::max();
std::atomic<std::size_t> left{kNever};
std::atomic<bool> any_failed{false};

void* allocate(std::size_t bytes) {
  std::size_t now = left.load(std::memory_order_relaxed);
  while (now != kNever && now != 0 && !left.compare_exchange_weak(now, now - 1)) {
  }
  if (now == 0) {
    any_failed = true;
    throw std::bad_alloc();
  }
  if (void* p = std::malloc(bytes == 0 ? 1 : bytes)) return p;
  throw std::bad_alloc();
}

}  // namespace

FailingAllocations::FailingAllocations(std::size_t after) {
  any_failed = false;
  left = after;
}
FailingAllocations::~FailingAllocations() { left = kNever; }
bool FailingAllocations::failed() const { return any_failed; }

}  // namespace halo::test

void* operator new(std::size_t bytes) { return halo::test::allocate(bytes); }
void* operator new[](std::size_t bytes) { return halo::test::allocate(bytes); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }
