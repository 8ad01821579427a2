#include "halo/gnn/train/fit_fusion.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "halo/core/random.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kTerms = 3, kCandidates = 200, kRelevant = 10;

// Lists whose first term tells what is relevant, whose second says half as much, and whose third
// is noise.
struct Lists {
  std::vector<Matrix> terms;
  std::vector<std::vector<std::uint8_t>> relevant;

  Lists(std::size_t queries, std::uint64_t seed, bool meaningless = false) {
    for (std::size_t q = 0; q < queries; ++q) {
      Random random(seed, q);
      Matrix values(kTerms, kCandidates);
      std::vector<std::uint8_t> hits(kCandidates, 0);
      for (std::size_t j = 0; j < kCandidates; ++j) {
        hits[j] = j < kRelevant ? 1 : 0;
        const float told = meaningless ? 0.0F : static_cast<float>(hits[j]);
        values.row(0)[j] = 0.4F * told + 0.2F * static_cast<float>(random.normal());
        values.row(1)[j] = 0.2F * told + 0.2F * static_cast<float>(random.normal());
        values.row(2)[j] = 0.2F * static_cast<float>(random.normal());
      }
      terms.push_back(std::move(values));
      relevant.push_back(std::move(hits));
    }
  }
  std::vector<JudgedList> view() const {
    std::vector<JudgedList> lists;
    for (std::size_t q = 0; q < terms.size(); ++q) lists.push_back({terms[q], relevant[q]});
    return lists;
  }
  // Mean share of the first ten that is relevant.
  double precision(std::span<const float> weights) const {
    double sum = 0;
    for (std::size_t q = 0; q < terms.size(); ++q) {
      std::vector<std::pair<float, std::size_t>> order;
      for (std::size_t j = 0; j < kCandidates; ++j) {
        float score = 0;
        for (std::size_t t = 0; t < kTerms; ++t) score += weights[t] * terms[q].row(t)[j];
        order.emplace_back(-score, j);
      }
      std::sort(order.begin(), order.end());
      for (std::size_t i = 0; i < kRelevant; ++i) sum += order[i].second < kRelevant ? 1.0 : 0.0;
    }
    return sum / static_cast<double>(terms.size() * kRelevant);
  }
};

TEST(FitFusion, NoiseLosesItsSayAndQualityRises) {
  const std::vector<float> start = {0.5F, 0.5F, 0.5F};
  const Lists unseen(200, 99);
  for (const std::size_t queries : {10U, 30U, 100U}) {
    const Lists lists(queries, queries);
    const auto weights = fit_fusion(lists.view(), start, {.pull = 4.0}, Executor(2));
    EXPECT_LT(weights[2], 0.25F) << queries;
    EXPECT_GT(weights[0], weights[1]) << queries;
    EXPECT_GT(unseen.precision(weights), unseen.precision(start) + 0.1) << queries;
  }
}

TEST(FitFusion, FewQueriesAndAStrongPullKeepItNearTheStart) {
  const std::vector<float> start = {0.5F, 0.5F, 0.5F};
  const auto moved = [&](std::size_t queries, double pull) {
    const Lists lists(queries, 4);
    const auto weights = fit_fusion(lists.view(), start, {.pull = pull}, Executor(1));
    double sum = 0;
    for (std::size_t t = 0; t < kTerms; ++t) sum += std::abs(weights[t] - start[t]);
    return sum;
  };
  EXPECT_LT(moved(10, 1000.0), 0.05);
  EXPECT_LT(moved(2, 4.0), moved(100, 4.0));
}

TEST(FitFusion, AMinimumWhereTheSlopeVanishesOrAWeightIsZero) {
  // Judged by the loss itself, in double, around the weights that came out.
  const Lists lists(20, 6);
  const std::vector<float> start = {0.2F, 0.8F, 0.3F};
  const auto weights = fit_fusion(lists.view(), start, {.pull = 4.0}, Executor(1));
  const auto loss = [&](const std::vector<float>& w, double sharpness) {
    double sum = 0;
    for (std::size_t t = 0; t < kTerms; ++t) sum += 4.0 * std::pow(w[t] - start[t], 2);
    for (std::size_t q = 0; q < lists.terms.size(); ++q) {
      double all = 0, relevant = 0;
      for (std::size_t j = 0; j < kCandidates; ++j) {
        double score = 0;
        for (std::size_t t = 0; t < kTerms; ++t) {
          score +=
              sharpness * static_cast<double>(w[t]) * static_cast<double>(lists.terms[q].row(t)[j]);
        }
        all += std::exp(score);
        if (lists.relevant[q][j] != 0) relevant += score / kRelevant;
      }
      sum += std::log(all) - relevant;
    }
    return sum;
  };
  double sharpness = 0.25, best = loss(start, sharpness);
  for (double s = 0.25; s < 64; s *= 1.002) {
    if (const double here = loss(start, s); here < best) {
      best = here;
      sharpness = s;
    }
  }
  const double at = loss(weights, sharpness);
  EXPECT_LT(at, best);
  for (std::size_t t = 0; t < kTerms; ++t) {
    for (const float step : {-0.02F, 0.02F}) {
      auto moved = weights;
      moved[t] = std::max(0.0F, moved[t] + step);
      EXPECT_GT(loss(moved, sharpness), at - 1e-4) << t << ' ' << step;
    }
  }
}

TEST(FitFusion, SameBytesAtAnyThreadCountAndNothingToLearnKeepsTheStart) {
  const std::vector<float> start = {0.5F, 0.0F, 1.5F};
  const Lists lists(33, 8, true);
  EXPECT_EQ(fit_fusion(lists.view(), start, {}, Executor(1)),
            fit_fusion(lists.view(), start, {}, Executor(4)));
  EXPECT_EQ(fit_fusion({}, start, {}, Executor(1)), start);
  Lists silent(5, 1);
  for (auto& hits : silent.relevant) std::fill(hits.begin(), hits.end(), 0);
  EXPECT_EQ(fit_fusion(silent.view(), start, {}, Executor(1)), start);
}

TEST(FitFusion, RefusesOtherShapesAndOptions) {
  const Lists lists(2, 1);
  test::expect_error(ErrorCode::kDimensionMismatch, "3 terms",
                     [&] { fit_fusion(lists.view(), std::vector<float>{1.0F}, {}, Executor(1)); });
  test::expect_error(ErrorCode::kInvalidArgument, "pull",
                     [&] { FusionOptions{.pull = 0}.validate(); });
  test::expect_error(ErrorCode::kInvalidArgument, "iterations",
                     [&] { FusionOptions{.iterations = 0}.validate(); });
}

}  // namespace
}  // namespace halo::gnn
