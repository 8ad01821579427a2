// Makes `operator new` of this test program fail at a chosen allocation.
#pragma once

#include <cstddef>

namespace halo::test {

/// While it lives, allocation number `after` (from 0) of any thread and all later ones throw.
class FailingAllocations {
 public:
  explicit FailingAllocations(std::size_t after);
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
  /// True once an allocation failed.
  bool failed() const;
};

}  // namespace halo::test
