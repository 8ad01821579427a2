#include "halo/core/kernels/long_vectors.h"

#include <gtest/gtest.h>

#include <string_view>

#include "core/kernels/every_isa.h"

namespace halo::kernels {
namespace {

TEST(LongVectors, AreThoseOfAvx512) {
  halo::test::on_every_isa([](const char* isa) {
    EXPECT_EQ(long_vectors(), std::string_view(isa).starts_with("AVX3")) << isa;
  });
}

}  // namespace
}  // namespace halo::kernels
