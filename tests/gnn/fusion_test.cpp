#include "halo/gnn/fusion.h"

#include <gtest/gtest.h>

#include <utility>

#include "gnn/refinement_fixture.h"
#include "halo/gnn/refinement_model.h"

namespace halo::gnn {
namespace {

using halo::test::RefinementFixture;

TEST(Fusion, LabelFreeWeightsFollowTheGateAndTheHeads) {
  RefinementFixture f;  // heads c (0.4, half of it content) and s (0.6, structure alone)
  const auto model = RefinementModel::create(std::move(f.parts));
  const auto weights = label_free_weights(*model, 0.5);
  ASSERT_EQ(weights.size(), num_terms(2));
  EXPECT_NEAR(weights[head_term(0, HeadTerm::kStructure)], 0.1F, 1e-6);
  EXPECT_NEAR(weights[head_term(0, HeadTerm::kContent)], 0.1F, 1e-6);
  EXPECT_NEAR(weights[head_term(1, HeadTerm::kStructure)], 0.3F, 1e-6);
  for (const std::size_t unused : {head_term(0, HeadTerm::kHub), head_term(1, HeadTerm::kContent),
                                   head_term(1, HeadTerm::kHub), plain_term(2)}) {
    EXPECT_EQ(weights[unused], 0.0F);
  }
  EXPECT_EQ(weights[anchor_term(2)], 1.5F);
  const auto shut = label_free_weights(*model, 0.0);
  for (std::size_t t = 0; t < plain_term(2); ++t) EXPECT_EQ(shut[t], 0.0F);
}

TEST(Fusion, FitsModelsWithTheSameHeadsInTheSameOrder) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  Fusion fusion{{"c", "s"}, label_free_weights(*model, 1.0)};
  fusion.validate();
  EXPECT_TRUE(fusion.fits(*model));
  EXPECT_EQ(fusion.term_name(0), "structure c");
  EXPECT_EQ(fusion.term_name(4), "content s");
  EXPECT_EQ(fusion.term_name(5), "hub s");
  EXPECT_EQ(fusion.term_name(6), "plain");
  EXPECT_EQ(fusion.term_name(7), "anchor");
  std::swap(fusion.heads[0], fusion.heads[1]);
  EXPECT_FALSE(fusion.fits(*model));
  fusion.heads = {"c"};
  EXPECT_FALSE(fusion.fits(*model));
  halo::test::expect_error(ErrorCode::kCorrupt, "one weight a term", [&] { fusion.validate(); });
  fusion.weights.assign(num_terms(1), -0.1F);
  halo::test::expect_error(ErrorCode::kCorrupt, "0 to 1000", [&] { fusion.validate(); });
  fusion.heads.clear();
  halo::test::expect_error(ErrorCode::kCorrupt, "no head", [&] { fusion.validate(); });
}

}  // namespace
}  // namespace halo::gnn
