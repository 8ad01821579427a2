// Memory for large arrays that are read at random: aligned to cache lines and, where the system
// grants them, on huge pages (fewer TLB misses: 5% to 25% of a graph search).
//
// Thread-safe.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

namespace halo {

struct FreeAligned {
  void operator()(void* memory) const noexcept { std::free(memory); }
};

/// Owns what allocate_aligned() returned.
template <class T>
using AlignedArray = std::unique_ptr<T[], FreeAligned>;

/// At least `bytes` of uninitialised memory, 64-byte aligned; from 4 MB on, on huge pages where the
/// system grants them. Null where there is no memory; free with std::free().
void* allocate_aligned(std::size_t bytes) noexcept;

/// Reusable aligned room for values that are overwritten each time.
template <class T>
class AlignedBuffer {
 public:
  /// Room for `count` values; what was there before is lost.
  T* resize(std::size_t count) {
    if (count > capacity_) {
      capacity_ = 0;
      values_.reset(static_cast<T*>(allocate_aligned(count * sizeof(T))));
      if (!values_) throw std::bad_alloc();
      capacity_ = count;
    }
    return values_.get();
  }
  std::size_t capacity() const { return capacity_; }

 private:
  AlignedArray<T> values_;
  std::size_t capacity_ = 0;
};

}  // namespace halo
