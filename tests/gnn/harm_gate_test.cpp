#include "halo/gnn/harm_gate.h"

#include <gtest/gtest.h>

#include <vector>

namespace halo::gnn {
namespace {

TEST(HarmGate, IsOneWhereQueriesAreLikeTheBaseAndFadesOnBothSides) {
  EXPECT_DOUBLE_EQ(harm_gate(0.5, 0.5), 1.0);
  EXPECT_NEAR(harm_gate(0.45, 0.5), 0.5, 1e-9);
  EXPECT_NEAR(harm_gate(0.55, 0.5), 0.5, 1e-9);
  EXPECT_DOUBLE_EQ(harm_gate(0.3, 0.5), 0.0);
  EXPECT_DOUBLE_EQ(harm_gate(0.9, 0.5), 0.0);
  EXPECT_DOUBLE_EQ(harm_gate(0.5, 0.0), 0.0);
  EXPECT_DOUBLE_EQ(harm_gate(0.0, 0.0), 0.0);
}

TEST(HarmGate, ReciprocityCountsTheFirstTenAndTies) {
  const std::vector<float> reach{1.0F, 0.5F, 0.0F};
  Reciprocity reciprocity;
  reciprocity.add(std::vector<std::uint32_t>{0, 1, 2}, std::vector<float>{1.0F, 0.6F, 1e-7F},
                  reach);
  EXPECT_EQ(reciprocity.total, 3U);
  EXPECT_EQ(reciprocity.hits, 2U);
  EXPECT_DOUBLE_EQ(reciprocity.value(), 2.0 / 3.0);
  Reciprocity many;
  many.add(std::vector<std::uint32_t>(30, 0), std::vector<float>(30, 0.1F), reach);
  EXPECT_EQ(many.total, kReciprocityNeighbours);
  EXPECT_DOUBLE_EQ(Reciprocity{}.value(), 0.0);
}

}  // namespace
}  // namespace halo::gnn
