#include "halo/core/half_matrix.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

namespace halo {
namespace {

// The value of 16 bits by IEEE 754's definition.
double value_of(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1 : 1;
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(1024 + fraction, exponent - 25);
}

TEST(F16, EveryFiniteValueComesBack) {
  for (std::uint32_t bits = 0; bits < 65536; ++bits) {
    if ((bits >> 10 & 31U) == 31) continue;  // infinities and NaN
    const F16 half{static_cast<std::uint16_t>(bits)};
    const float value = f16_to_float(half);
    ASSERT_EQ(static_cast<double>(value), value_of(half.bits)) << bits;
    ASSERT_EQ(float_to_f16(value).bits, half.bits) << bits;
  }
}

TEST(F16, RoundsToTheNearestTiesToEven) {
  for (std::uint32_t bits = 0; bits < 0x7bff; ++bits) {
    const double low = value_of(static_cast<std::uint16_t>(bits)),
                 high = value_of(static_cast<std::uint16_t>(bits + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    const std::uint32_t even = bits % 2 == 0 ? bits : bits + 1;
    ASSERT_EQ(float_to_f16(middle).bits, even) << bits;
    ASSERT_EQ(float_to_f16(-middle).bits, even | 0x8000U) << bits;
    ASSERT_EQ(float_to_f16(std::nextafter(middle, 1e9F)).bits, bits + 1) << bits;
    ASSERT_EQ(float_to_f16(std::nextafter(middle, -1e9F)).bits, bits) << bits;
  }
}

TEST(F16, IsClampedToItsRange) {
  EXPECT_EQ(f16_to_float(float_to_f16(65519.0F)), kGreatestF16);
  EXPECT_EQ(f16_to_float(float_to_f16(1e30F)), kGreatestF16);
  EXPECT_EQ(f16_to_float(float_to_f16(-1e30F)), -kGreatestF16);
  EXPECT_EQ(f16_to_float(float_to_f16(1e-30F)), 0.0F);
}

}  // namespace
}  // namespace halo
