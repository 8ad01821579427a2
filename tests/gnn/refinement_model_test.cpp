#include "halo/gnn/refinement_model.h"

#include <gtest/gtest.h>

#include <limits>
#include <numeric>
#include <vector>

#include "gnn/refinement_fixture.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

using test::RefinementFixture;
constexpr std::size_t kRows = RefinementFixture::kRows, kDim = RefinementFixture::kDim;

TEST(RefinementModel, AttentionWeightsSumToOneOverTheWindow) {
  RefinementFixture f;
  const auto model = RefinementModel::create(std::move(f.parts));
  const std::vector<std::uint32_t> window{3, 8, 20, 21, 150};
  for (std::size_t head = 0; head < model->parts().heads.size(); ++head) {
    const auto weights = model->attention_weights(head, 12, window);
    ASSERT_EQ(weights.size(), window.size());
    EXPECT_NEAR(std::accumulate(weights.begin(), weights.end(), 0.0F), 1.0F, 1e-5);
  }
}

TEST(RefinementModel, MemoryCountsWhatIsStored) {
  RefinementFixture f;
  std::size_t bytes = kRows * 10 * 4 + f.parts.global_nodes.size() * 4;
  for (const RefinementHead& head : f.parts.heads) {
    bytes += (head.projection.basis().rows + 1) * kDim * 4;
    bytes += kRows * (64 + 4) + kRows * 48 * 4 + kRows * 2;  // states, structure, threshold
  }
  EXPECT_EQ(RefinementModel::create(std::move(f.parts))->memory_bytes(), bytes);
}

TEST(RefinementModel, RefusesPartsThatDoNotFit) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const auto refused = [](const char* text, auto&& spoil) {
    RefinementFixture f;
    spoil(f.parts);
    test::expect_error(ErrorCode::kCorrupt, text,
                       [&] { RefinementModel::create(std::move(f.parts)); });
  };
  refused("no vectors", [](auto& p) { p.size = 0; });
  refused("no head", [](auto& p) { p.heads.clear(); });
  refused("10 edges", [](auto& p) { p.edges.pop_back(); });
  refused("outside the index", [](auto& p) { p.edges[3] = kRows; });
  refused("coherence", [&](auto& p) { p.base_coherence = nan; });
  refused("spectrum", [&](auto& p) { p.flatness = nan; });
  refused("calibrated gate", [](auto& p) { p.calibrated_gate = 2.0; });
  refused("global node", [](auto& p) { p.global_nodes.push_back(kRows); });
  refused("weight", [&](auto& p) { p.heads[0].weight = nan; });
  refused("content share", [](auto& p) { p.heads[0].content_share = -1; });
  refused("dimension",
          [](auto& p) { p.heads[0].projection = Projection(std::vector<float>(3), Matrix()); });
  refused("mean", [&](auto& p) {
    p.heads[0].projection = Projection(std::vector<float>(kDim, nan), Matrix());
  });
  refused("another shape", [](auto& p) { p.heads[1].states = ByteMatrix(kRows - 1, kDim); });
  refused("scale", [&](auto& p) { p.heads[1].states.scales()[7] = nan; });
  refused("thresholds", [](auto& p) { p.heads[0].thresholds.clear(); });
  refused("structure of another", [](auto& p) { p.heads[0].structure = StructureRows(kRows, 16); });
  refused("structure leads outside", [](auto& p) {
    StructureRows& rows = p.heads[0].structure;
    rows.row(5)[0] = rows.entry(kRows, 1);
  });
  refused("layers must be", [](auto& p) { p.options.layers = 9; });
}

TEST(RefineOptions, RefusesValuesOutOfRange) {
  const auto refused = [](const char* text, auto&& spoil) {
    RefineOptions options;
    spoil(options);
    test::expect_error(ErrorCode::kInvalidArgument, text, [&] { options.validate(); });
  };
  refused("window", [](auto& o) { o.window = 5000; });
  refused("wide_windows", [](auto& o) { o.wide_windows = 0; });
  refused("layers", [](auto& o) { o.layers = 0; });
  refused("sharpness", [](auto& o) { o.layer.sharpness = -1; });
  refused("neighbour_share", [](auto& o) { o.layer.neighbour_share = 1.5F; });
  refused("global_gate",
          [](auto& o) { o.layer.global_gate = std::numeric_limits<float>::infinity(); });
  refused("centred_rank", [](auto& o) { o.centred_rank = 0; });
  refused("spectral_rank", [](auto& o) { o.spectral_rank = 0; });
  refused("whitened_rank", [](auto& o) { o.whitened_rank = 0; });
  refused("kept", [](auto& o) { o.structure.kept = 3; });
}

}  // namespace
}  // namespace halo::gnn
