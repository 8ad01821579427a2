#include "halo/gnn/memory_budget.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "halo/core/executor.h"
#include "halo/gnn/refinement_model.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kSize = 100000;

struct Cut {
  std::vector<HeadPlan> plans;
  RefineOptions options;
  double share = 0;
};

// Two heads as the label-free choice plans them, or the first of them, cut for `dim` dimensions.
Cut cut(std::size_t dim, std::size_t heads, float content = 0.0F, double share = 0.6) {
  const Spectrum spectrum = covariance_spectrum(test::random_matrix(200, dim, 1), 200, Executor(1));
  Cut out;
  out.options.memory_share = share;
  out.plans = {{"c", 0.3F, content, leading_projection(spectrum, 256)},
               {"g", 0.7F, 0.0F, spectral_projection(spectrum, 128)}};
  out.plans.resize(heads);
  if (heads == 1) out.plans[0].weight = 1.0F;
  fit_to_memory(out.plans, out.options, spectrum, kSize);
  out.share =
      static_cast<double>(planned_bytes(out.plans, kSize, dim, out.options.structure.kept)) /
      (4.0 * kSize * static_cast<double>(dim));
  return out;
}

TEST(MemoryBudget, LeavesWhatFitsAsItIs) {
  const Cut wide = cut(512, 2);
  EXPECT_EQ(wide.plans.size(), 2U);
  EXPECT_EQ(wide.plans[0].projection.out_dim(), 256U);
  EXPECT_EQ(wide.options.structure.kept, 48U);
  EXPECT_EQ(cut(64, 2, 0.0F, 100.0).plans.size(), 2U);
}

TEST(MemoryBudget, HoldsFrom75DimensionsOn) {
  for (const std::size_t dim : {75U, 96U, 100U, 128U, 200U, 256U, 300U, 384U, 617U}) {
    for (const std::size_t heads : {1U, 2U}) {
      for (const float content : {0.0F, 0.5F}) {
        const Cut fitted = cut(dim, heads, content);
        EXPECT_LE(fitted.share, 0.6) << dim << ' ' << heads << ' ' << content;
        float sum = 0;
        for (const HeadPlan& plan : fitted.plans) sum += plan.weight;
        EXPECT_FLOAT_EQ(sum, 1.0F);
      }
    }
  }
}

TEST(MemoryBudget, ContentKeepsItsDirectionsAndStructureItsWalks) {
  const Cut content = cut(100, 1, 0.5F), structure = cut(100, 1);
  EXPECT_EQ(content.plans[0].projection.out_dim(), 100U);
  EXPECT_EQ(content.options.structure.kept, 16U);
  EXPECT_EQ(structure.plans[0].projection.out_dim(), 64U);
  EXPECT_EQ(structure.options.structure.kept, 32U);
  EXPECT_EQ(cut(96, 1).options.structure.kept, 24U);
}

TEST(MemoryBudget, TheHeaviestHeadStays) {
  const Cut fitted = cut(100, 2);
  ASSERT_EQ(fitted.plans.size(), 1U);
  EXPECT_EQ(fitted.plans[0].name, "g");
  EXPECT_EQ(fitted.plans[0].weight, 1.0F);
}

TEST(MemoryBudget, CutsNoFurtherThanOneSmallHead) {
  const Cut least = cut(8, 2);
  ASSERT_EQ(least.plans.size(), 1U);
  EXPECT_EQ(least.plans[0].projection.out_dim(), 8U);
  EXPECT_EQ(least.options.structure.kept, 16U);
  EXPECT_GT(least.share, 0.6);
}

}  // namespace
}  // namespace halo::gnn
