#include "halo/core/kernels/bf16.h"

#include <atomic>

#include "halo/core/kernels/long_vectors.h"

namespace halo::kernels::bf16 {
namespace {

std::atomic<bool> forbidden{false};

bool cpu_has_it() {
#if defined(__x86_64__) && defined(__GNUC__)
  // Also false where the operating system does not save AVX-512's registers.
  return __builtin_cpu_supports("avx512bf16") != 0;
#else
  return false;
#endif
}

}  // namespace

bool in_hardware() {
  static const bool has_it = cpu_has_it();
  return has_it && !forbidden && long_vectors();
}

void forbid_for_test(bool forbid) { forbidden = forbid; }

}  // namespace halo::kernels::bf16
