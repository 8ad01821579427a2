#include "halo/gnn/trained_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "halo/core/kernels/distance_reference.h"
#include "halo/core/kernels/vector_ops.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kSize = 60, kDim = 5, kWindow = 6;

// Two classes of 30; the windows are the true neighbours.
TrainedParts parts() {
  TrainedParts made;
  made.size = kSize;
  made.dim = kDim;
  made.view = "pca";
  Matrix basis(kDim, kDim);
  for (std::size_t d = 0; d < kDim; ++d) basis.row(d)[d] = 1.0F;
  made.projection = Projection(std::vector<float>(kDim, 0.0F), std::move(basis));
  made.scale = 10.0F;
  made.window = kWindow;
  Matrix x = halo::test::random_matrix(kSize, kDim, 4);
  for (std::size_t i = 0; i < kSize; ++i) {
    x.row(i)[0] += i < 30 ? 1.0F : -1.0F;
    kernels::normalise(x.row(i), kDim);
  }
  for (std::size_t i = 0; i < kSize; ++i) {
    std::vector<std::uint32_t> order(kSize);
    std::iota(order.begin(), order.end(), 0U);
    std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
      return kernels::reference::dot(x.row(i), x.row(a), kDim) >
             kernels::reference::dot(x.row(i), x.row(b), kDim);
    });
    for (std::size_t e = 1; e <= kWindow; ++e) made.windows.push_back(order[e]);
  }
  made.states.push_back(HalfMatrix::rounded(x));
  made.states.push_back(HalfMatrix::rounded(x));
  made.label_weight = 4.0F;
  made.plain_share = 0.5F;
  made.centroids = Matrix(2, kDim);
  made.centroids.row(0)[0] = 1.0F;
  made.centroids.row(1)[0] = -1.0F;
  made.entries = {0, 30};
  made.posteriors.classes.assign(kSize * kClassesKept, kNoClass);
  made.posteriors.roots.assign(kSize * kClassesKept, 0.0F);
  for (std::size_t i = 0; i < kSize; ++i) {
    made.posteriors.classes[i * kClassesKept] = i < 30 ? 0 : 1;
    made.posteriors.roots[i * kClassesKept] = 1.0F;
  }
  return made;
}

const std::vector<float> kQuery = {1.0F, 0.2F, -0.1F, 0.3F, 0.0F};
const std::vector<std::uint32_t> kCandidates = {5, 3};
const std::vector<float> kDistances = {0.1F, 0.2F};

TEST(TrainedModel, TheWalkLeavesItsCandidatesAndTheClassesOrder) {
  const auto model = TrainedModel::create(parts());
  TrainedModel::Scratch scratch;
  model->refine(kQuery, kCandidates, kDistances, 20, {}, scratch);
  ASSERT_EQ(scratch.nodes.size(), 20U);
  EXPECT_EQ(std::set<std::uint32_t>(scratch.nodes.begin(), scratch.nodes.end()).size(), 20U);
  EXPECT_TRUE(std::is_sorted(scratch.scores.begin(), scratch.scores.end(), std::greater<>()));
  for (std::size_t i = 0; i < 15; ++i) EXPECT_LT(scratch.nodes[i], 30U) << i;
  // The same scratch gives the same answer.
  const auto nodes = scratch.nodes;
  model->refine(kQuery, kCandidates, kDistances, 20, {}, scratch);
  EXPECT_EQ(nodes, scratch.nodes);
}

TEST(TrainedModel, WithoutLabelsTheNearestInTheLearnedSpaceComeFirst) {
  const auto model = TrainedModel::create(parts())->with_label_use(0.0F, 0.0F, 0.25F);
  TrainedModel::Scratch scratch;
  model->refine(kQuery, kCandidates, kDistances, kSize, {}, scratch);
  const auto cosine = [&](std::uint32_t node) {
    return kernels::dot(kQuery.data(), model->parts().states[0].row(node), kDim);
  };
  float best = -2;
  for (std::uint32_t i = 0; i < kSize; ++i) best = std::max(best, cosine(i));
  EXPECT_GT(cosine(scratch.nodes.front()), best - 0.15F);
}

TEST(TrainedModel, OnlyAllowedNodesAreResults) {
  const auto model = TrainedModel::create(parts());
  TrainedModel::Scratch scratch;
  const std::vector<std::uint32_t> even = {40, 4};
  model->refine(
      kQuery, even, kDistances, 20, [](std::uint32_t node) { return node % 2 == 0; }, scratch);
  EXPECT_GT(scratch.nodes.size(), 5U);
  for (const std::uint32_t node : scratch.nodes) EXPECT_EQ(node % 2, 0U);
}

TEST(TrainedModel, RefusesForgedParts) {
  const auto refuse = [](const std::string& text, const auto& forge) {
    TrainedParts forged = parts();
    forge(forged);
    halo::test::expect_error(ErrorCode::kCorrupt, text,
                             [&] { TrainedModel::create(std::move(forged)); });
  };
  refuse("outside the index", [](TrainedParts& p) { p.windows[7] = kSize; });
  refuse("windows of another size", [](TrainedParts& p) { p.windows.pop_back(); });
  refuse("outside the index", [](TrainedParts& p) { p.entries[1] = kSize; });
  refuse("unknown class", [](TrainedParts& p) { p.posteriors.classes[0] = 2; });
  refuse("probability", [](TrainedParts& p) { p.posteriors.roots[0] = 2.0F; });
  refuse("not finite", [](TrainedParts& p) { p.states[1].row(3)[2] = 0x7f80; });
  refuse("another shape", [](TrainedParts& p) { p.states[1] = HalfMatrix(kSize, kDim + 1); });
  refuse("layers", [](TrainedParts& p) { p.states.resize(1); });
  refuse("scale", [](TrainedParts& p) { p.scale = 0; });
  refuse("label weight", [](TrainedParts& p) { p.label_weight = -1; });
  refuse("not finite",
         [](TrainedParts& p) { p.centroids.row(0)[0] = std::numeric_limits<float>::quiet_NaN(); });
  halo::test::expect_error(ErrorCode::kCorrupt, "plain share", [] {
    TrainedModel::create(parts())->with_label_use(1.0F, 2.0F, 0.25F);
  });
}

}  // namespace
}  // namespace halo::gnn
