#include "halo/core/kernels/sparse_rows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/random.h"

namespace halo::kernels {
namespace {

TEST(SparseRows, EqualTheReferenceOnEveryInstructionSet) {
  test::on_every_isa([](const char* isa) {
    Random random(5);
    constexpr std::size_t kIndices = 1000;
    std::vector<std::uint8_t> dense(kIndices + kDensePadding);
    for (std::uint8_t& v : dense) v = static_cast<std::uint8_t>(random.below(256));
    for (const unsigned bits : {4U, 8U}) {
      for (const std::size_t room : {8U, 16U, 24U, 48U, 64U, 256U}) {
        constexpr std::size_t kRows = 40;
        std::vector<std::uint32_t> entries(kRows * room), rows;
        for (std::uint32_t& entry : entries) {
          entry = static_cast<std::uint32_t>(random.below(kIndices) << bits |
                                             random.below(std::uint64_t{1} << bits));
        }
        for (std::size_t i = 0; i < 30; ++i) {
          rows.push_back(static_cast<std::uint32_t>(random.below(kRows)));
        }
        const SparseRows matrix{entries.data(), room, bits};
        for (const std::size_t count : {0U, 1U, 30U}) {
          std::vector<float> expected(count), got(count);
          unit_dot_rows_reference(matrix, rows.data(), count, dense.data(), expected.data());
          unit_dot_rows(matrix, rows.data(), count, dense.data(), got.data());
          for (std::size_t i = 0; i < count; ++i) {
            EXPECT_NEAR(got[i], expected[i], 1e-5 * expected[i] + 1e-4)
                << isa << ' ' << bits << ' ' << room;
          }
        }
      }
    }
  });
}

TEST(SparseRows, ReachTheLargestIndexThatFits) {
  // 2^20 indices and 12 bits of weight: the top bit of an entry is in use.
  constexpr std::size_t kIndices = std::size_t{1} << 20U;
  std::vector<std::uint8_t> dense(kIndices + kDensePadding, 255);
  dense[kIndices - 1] = 2;
  std::vector<std::uint32_t> entries(16, 0);
  entries[3] = (std::uint32_t{(1U << 20U) - 1} << 12U) | 4095U;
  const std::uint32_t row = 0;
  float got = 0;
  unit_dot_rows({entries.data(), 16, 12}, &row, 1, dense.data(), &got);
  EXPECT_EQ(got, 2.0F);  // the row has one entry: a weight of 1 after scaling
  std::fill(entries.begin(), entries.end(), 0U);
  unit_dot_rows({entries.data(), 16, 12}, &row, 1, dense.data(), &got);
  EXPECT_EQ(got, 0.0F);
}

}  // namespace
}  // namespace halo::kernels
