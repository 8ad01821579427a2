// Runs a check once for each instruction set, and on a CPU that multiplies bfloat16 in hardware
// once more for AVX-512 without that.
#pragma once

#include <hwy/targets.h>

#include <string>

#include "core/kernels/every_isa.h"
#include "halo/core/kernels/bf16.h"

namespace halo::test {

template <class Check>
void on_every_half_isa(Check&& check) {
  on_every_isa([&](const char* isa) {
    if (!kernels::bf16::in_hardware()) return check(isa);
    check((std::string(isa) + " with bfloat16").c_str());
    kernels::bf16::forbid_for_test(true);
    check(isa);
    kernels::bf16::forbid_for_test(false);
  });
}

}  // namespace halo::test
