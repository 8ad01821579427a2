#include "halo/core/kernels/softmax.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "core/kernels/every_isa.h"
#include "halo/core/kernels/softmax_reference.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

std::vector<float> draw(std::size_t d, double spread, std::uint64_t seed) {
  Random random(seed);
  std::vector<float> x(d);
  for (float& v : x) v = static_cast<float>(spread * random.normal());
  return x;
}

TEST(Softmax, ExponentialsAreWithinTwoTenMillionths) {
  test::on_every_isa([](const char* isa) {
    std::vector<float> x;
    for (double v = -87.3; v <= 88.0; v += 0.00137) x.push_back(static_cast<float>(v));
    std::vector<float> e = x;
    exponentials(e.data(), e.size(), 0.0F);
    double worst = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = std::exp(double{x[i]});
      worst = std::max(worst, std::fabs(e[i] - exact) / exact);
    }
    EXPECT_LT(worst, 2e-7) << isa;
    std::vector<float> edges{0.0F, -0.0F, -kInf, -1e30F, -100.0F};
    exponentials(edges.data(), edges.size(), 0.0F);
    EXPECT_EQ(edges, (std::vector<float>{1.0F, 1.0F, 0.0F, 0.0F, 0.0F})) << isa;
    std::vector<float> nan(19, std::nanf(""));
    exponentials(nan.data(), nan.size(), 0.0F);
    for (const float v : nan) EXPECT_TRUE(std::isnan(v)) << isa;
  });
}

TEST(Softmax, AgreesWithDoubleAtEveryLength) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 0; d < 70; ++d) {
      std::vector<float> x = draw(d, 5.0, d);
      if (d > 3) x[d / 2] = -kInf;
      double lse = 0;
      const std::vector<double> expected = reference::softmax(x.data(), d, &lse);
      EXPECT_EQ(row_max(x.data(), d), d == 0 ? -kInf : *std::max_element(x.begin(), x.end()));
      std::vector<float> p = x;
      const float got = softmax_lse(p.data(), d);
      if (d == 0) {
        EXPECT_EQ(got, -kInf) << isa;
      } else {
        EXPECT_NEAR(got, lse, 1e-5) << isa;
      }
      softmax(x.data(), d);
      EXPECT_EQ(x, p) << isa;
      for (std::size_t i = 0; i < d; ++i) EXPECT_NEAR(p[i], expected[i], 4e-6 * expected[i]) << isa;
      if (d > 3) {
        EXPECT_EQ(p[d / 2], 0.0F) << isa;
      }
    }
  });
}

TEST(Softmax, NothingAllowedGivesZeros) {
  test::on_every_isa([](const char* isa) {
    for (std::size_t d = 0; d < 40; ++d) {
      std::vector<float> x(d, -kInf);
      EXPECT_EQ(softmax_lse(x.data(), d), -kInf) << isa;
      EXPECT_EQ(x, std::vector<float>(d, 0.0F)) << isa;
    }
  });
}

TEST(Softmax, OnlineInAnyPiecesIsTheSoftmax) {
  test::on_every_isa([](const char* isa) {
    Random random(5);
    for (int round = 0; round < 20; ++round) {
      const std::size_t d = 1 + random.below(200);
      std::vector<float> x = draw(d, 10.0, 50 + static_cast<std::uint64_t>(round));
      std::fill_n(x.begin(), d / 4, -kInf);  // the first pieces may hold nothing
      const std::vector<float> value = draw(d, 1.0, 7);
      double lse = 0, expected = 0;
      const std::vector<double> p = reference::softmax(x.data(), d, &lse);
      for (std::size_t i = 0; i < d; ++i) expected += p[i] * value[i];
      OnlineSoftmax online;
      double sum = 0;
      for (std::size_t begin = 0; begin < d;) {
        const std::size_t count = std::min<std::size_t>(random.below(40), d - begin);
        sum *= online.absorb(x.data() + begin, count);
        for (std::size_t i = begin; i < begin + count; ++i) sum += x[i] * value[i];
        begin += count;
      }
      EXPECT_NEAR(sum / online.sum, expected, 1e-5) << isa;
      EXPECT_NEAR(online.lse(), lse, 1e-5 * (1 + std::fabs(lse))) << isa;
    }
    OnlineSoftmax none;
    EXPECT_EQ(none.absorb(nullptr, 0), 0.0F) << isa;
    EXPECT_EQ(none.lse(), -kInf) << isa;
  });
}

}  // namespace
}  // namespace halo::kernels
