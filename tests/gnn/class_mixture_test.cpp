#include "halo/gnn/class_mixture.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

double likelihood(const std::vector<std::vector<double>>& p, const std::vector<double>& w) {
  double sum = 0;
  for (std::size_t i = 0; i < p[0].size(); ++i) {
    double mixed = 0;
    for (std::size_t e = 0; e < w.size(); ++e) mixed += w[e] * p[e][i];
    sum += std::log(mixed);
  }
  return sum;
}

TEST(ClassMixture, FindsTheWeightsThatMadeTheTruthLikeliest) {
  std::vector<std::vector<double>> p(3);
  Random random(4);
  for (int i = 0; i < 2000; ++i) {  // right 70%, 30% and 5% of the time
    p[0].push_back(random.uniform() < 0.7 ? 0.9 : 0.05);
    p[1].push_back(random.uniform() < 0.3 ? 0.9 : 0.05);
    p[2].push_back(random.uniform() < 0.05 ? 0.9 : 0.05);
  }
  const std::vector<double> start = {0.2, 0.3, 0.5};
  const auto weights = mixture_weights(p, start);
  EXPECT_NEAR(weights[0] + weights[1] + weights[2], 1.0, 1e-9);
  EXPECT_GT(weights[0], 0.6);
  EXPECT_LT(weights[2], 0.1);
  const double best = likelihood(p, weights);
  EXPECT_GT(best, likelihood(p, start));
  for (const double step : {-0.05, 0.05}) {
    EXPECT_GT(best + 1.0, likelihood(p, {weights[0] + step, weights[1] - step, weights[2]}));
  }
}

TEST(ClassMixture, FewOrSilentCasesKeepTheStart) {
  const std::vector<double> start = {0.25, 0.75};
  const std::vector<std::vector<double>> none(2), silent(2, std::vector<double>(9, 0.0));
  const std::vector<std::vector<double>> one = {{0.9}, {0.1}};
  for (const auto& p : {none, silent}) {
    const auto weights = mixture_weights(p, start);
    EXPECT_NEAR(weights[0], start[0], 1e-12);
    EXPECT_NEAR(weights[1], start[1], 1e-12);
  }
  EXPECT_NEAR(mixture_weights(one, start)[0], 0.27, 0.03);
  test::expect_error(ErrorCode::kDimensionMismatch, "one probability",
                     [&] { mixture_weights(one, std::vector<double>{1.0}); });
}

}  // namespace
}  // namespace halo::gnn
