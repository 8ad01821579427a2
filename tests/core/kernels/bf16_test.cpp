#include "halo/core/kernels/bf16.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include "core/kernels/every_isa.h"

namespace halo::kernels {
namespace {

TEST(Bf16, IsInHardwareOnlyWithAvx512AndWhereNotForbidden) {
  EXPECT_EQ(bf16::pairs_of(0), 0U);
  EXPECT_EQ(bf16::pairs_of(7), 4U);
  bool anywhere = false;
  test::on_every_isa([&](const char* isa) {
    const bool has_it = bf16::in_hardware();
    anywhere = anywhere || has_it;
    if ((hwy::SupportedTargets() & HWY_AVX3) == 0) {
      EXPECT_FALSE(has_it) << isa;
    }
    bf16::forbid_for_test(true);
    EXPECT_FALSE(bf16::in_hardware()) << isa;
    bf16::forbid_for_test(false);
    EXPECT_EQ(bf16::in_hardware(), has_it) << isa;
  });
  EXPECT_EQ(bf16::in_hardware(), anywhere);
}

}  // namespace
}  // namespace halo::kernels
