#include "halo/core/kernels/sparse_rows.h"

#include <gtest/gtest.h>

#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/random.h"

namespace halo::kernels {
namespace {

TEST(SparseRows, EqualTheReferenceOnEveryInstructionSet) {
  test::on_every_isa([](const char* isa) {
    Random random(5);
    std::vector<float> dense(1000);
    for (float& v : dense) v = static_cast<float>(random.normal());
    for (const std::size_t count : {0U, 16U, 48U, 64U, 256U}) {
      std::vector<std::uint32_t> indices(count);
      std::vector<std::uint8_t> weights(count);
      for (std::size_t i = 0; i < count; ++i) {
        indices[i] = static_cast<std::uint32_t>(random.below(dense.size()));
        weights[i] = static_cast<std::uint8_t>(random.below(256));
      }
      const float expected =
          sparse_dot_reference(indices.data(), weights.data(), count, dense.data());
      EXPECT_NEAR(sparse_dot(indices.data(), weights.data(), count, dense.data()), expected, 0.02)
          << isa << ' ' << count;
    }
  });
}

}  // namespace
}  // namespace halo::kernels
