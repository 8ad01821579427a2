#include "halo/core/kernels/distance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <string>
#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/kernels/distance_reference.h"
#include "support/test_support.h"

namespace halo::kernels {
namespace {

std::vector<std::size_t> awkward_dimensions() {
  std::vector<std::size_t> dims(65);
  std::iota(dims.begin(), dims.end(), 0);
  dims.insert(dims.end(), {100, 127, 128, 129, 255, 617, 769, 784, 1024});
  return dims;
}

TEST(Distance, EveryIsaAgreesWithTheDoubleReference) {
  test::on_every_isa([](const char* isa) {
    for (const std::size_t d : awkward_dimensions()) {
      const Matrix x = test::random_matrix(2, d + 1, 17 + d);
      for (const std::size_t shift : {0U, 1U}) {  // also unaligned
        const float *a = x.row(0) + shift, *b = x.row(1) + shift;
        const double l2 = reference::l2_squared(a, b, d), ip = reference::dot(a, b, d);
        const double norm = std::sqrt(reference::dot(a, a, d) * reference::dot(b, b, d));
        EXPECT_NEAR(l2_squared(a, b, d), l2, 1e-6 * (1 + l2)) << isa << " d=" << d;
        EXPECT_NEAR(dot(a, b, d), ip, 1e-6 * (1 + norm)) << isa << " d=" << d;
      }
    }
  });
}

TEST(Distance, RowsGatherTheRightRows) {
  test::on_every_isa([](const char* isa) {
    const Matrix base = test::random_matrix(50, 37, 3), query = test::random_matrix(1, 37, 4);
    const std::vector<std::uint32_t> rows{49, 0, 7, 7, 21, 3};
    for (std::size_t count = 0; count <= rows.size(); ++count) {
      std::vector<float> out(count);
      dot_rows(query.row(0), base.data(), base.stride(), rows.data(), count, 37, out.data());
      for (std::size_t i = 0; i < count; ++i) {
        EXPECT_EQ(out[i], dot(query.row(0), base.row(rows[i]), 37)) << isa;
      }
    }
  });
}

TEST(Distance, NamesItsIsa) { EXPECT_FALSE(std::string(dispatched_isa()).empty()); }

}  // namespace
}  // namespace halo::kernels
