// Makes chosen allocations of a test program fail, and measures how much it has: `operator new`,
// and malloc, calloc, realloc, aligned_alloc and free as its objects call them (the linker wraps
// those; shared libraries keep their own).
//
// Thread-safety: one FailingAllocations or MeasuredMemory at a time; they count all threads.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <new>

#include "halo/core/error.h"

namespace halo::test {

enum class Failing {
  kOnce,     ///< one allocation fails, the next ones succeed
  kForGood,  ///< it and all later ones fail: there is no memory for an error message either
};

/// While it lives, allocation number `after` (from 0) of any thread fails.
class FailingAllocations {
 public:
  explicit FailingAllocations(std::size_t after, Failing how = Failing::kForGood);
  ~FailingAllocations();
  FailingAllocations(const FailingAllocations&) = delete;
  FailingAllocations& operator=(const FailingAllocations&) = delete;
  /// True once an allocation failed.
  bool failed() const;
};

/// The bytes allocated while it lives, beyond those when it began.
class MeasuredMemory {
 public:
  MeasuredMemory();
  std::size_t now() const;   ///< 0 where less is allocated than at the beginning
  std::size_t peak() const;  ///< the most at any moment

 private:
  std::int64_t begin_;
};

struct FailEach {
  std::size_t step = 1;  ///< of the allocations that fail
  bool typed = true;     ///< only halo::Error may come out, never std::bad_alloc
};

/// Calls `attempt()` with allocation 0 failing, then 1, 2, ..., until it needs no more of them;
/// first with Failing::kOnce, then with kForGood. `prepare()` is called before the first attempt
/// and after each that succeeded (having found another way), `unchanged()` after each that was
/// refused with kOutOfMemory; a refused attempt is repeated on what it left. Returns how many were
/// refused.
template <class Prepare, class Attempt, class Unchanged>
std::size_t fail_each_allocation(Prepare&& prepare, Attempt&& attempt, Unchanged&& unchanged,
                                 const FailEach& options = {}) {
  std::size_t refused = 0;
  for (const Failing how : {Failing::kOnce, Failing::kForGood}) {
    bool thrown = false;
    for (std::size_t n = 0;; n += options.step) {
      if (!thrown) prepare();
      thrown = false;
      bool failed = false, typed = true;
      ErrorCode code = ErrorCode::kOutOfMemory;
      {
        const FailingAllocations failing(n, how);
        try {
          attempt();
        } catch (const Error& error) {
          thrown = true;
          code = error.code();
        } catch (const std::bad_alloc&) {
          thrown = true;
          typed = false;
        }
        failed = failing.failed();
      }
      EXPECT_TRUE(typed || !options.typed) << "std::bad_alloc came through at allocation " << n;
      EXPECT_EQ(error_code_name(code), error_code_name(ErrorCode::kOutOfMemory)) << n;
      EXPECT_TRUE(failed || !thrown) << "refused although nothing failed";
      if (thrown) {
        ++refused;
        unchanged();
      }
      if (::testing::Test::HasFailure()) {
        ADD_FAILURE() << "at allocation " << n << (how == Failing::kOnce ? "" : " and later ones");
        return refused;
      }
      if (!failed) break;
    }
  }
  return refused;
}

}  // namespace halo::test
