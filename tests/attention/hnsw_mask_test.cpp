#include "halo/attention/hnsw_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "attention_test_support.h"
#include "halo/attention/sparse_mask.h"
#include "halo/core/random.h"

namespace halo::attention {
namespace {

using test::expect_error;
using Layers = std::vector<std::vector<std::uint32_t>>;
using Edges = std::vector<HnswMask::Edge>;

// The notes' test_hnsw_layers_mask.
TEST(HnswMask, LayersOfTheNotes) {
  const CsrMask mask = HnswMask::from_layers(4, Layers{{0, 1, 2, 3}, {0, 2}, {0}}).to_csr();
  for (std::size_t j = 0; j < 4; ++j) EXPECT_TRUE(mask.contains(0, j));
  EXPECT_TRUE(mask.contains(1, 0));
  EXPECT_TRUE(mask.contains(1, 2));
}

// The notes' triple loop, for any layers, nested or not.
TEST(HnswMask, LayersAreTheNotesLoop) {
  Random random(5);
  for (int trial = 0; trial < 30; ++trial) {
    const std::size_t n = 1 + random.below(20);
    Layers layers(random.below(4));
    for (auto& layer : layers) {
      const std::size_t count = random.below(8);
      for (std::size_t k = 0; k < count; ++k) {
        layer.push_back(static_cast<std::uint32_t>(random.below(n)));
      }
    }
    std::vector<std::vector<bool>> want(n, std::vector<bool>(n, false));
    for (std::size_t l = 0; l < layers.size(); ++l) {
      for (const auto i : layers[l]) {
        for (std::size_t above = l; above < layers.size(); ++above) {
          for (const auto j : layers[above]) want[i][j] = true;
        }
      }
    }
    const LayerMask implicit = HnswMask::from_layers(n, layers);
    const CsrMask mask = implicit.to_csr();
    EXPECT_EQ(implicit.entries(), mask.entries());
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t j = 0; j < n; ++j) ASSERT_EQ(mask.contains(i, j), want[i][j]);
    }
  }
}

TEST(HnswMask, Layer0OfALargeGraphIsNotStored) {
  constexpr std::size_t n = 200'000;
  Layers layers(2);
  layers[0].resize(n);
  std::iota(layers[0].begin(), layers[0].end(), 0U);
  layers[1] = {7, 11};
  const LayerMask mask = HnswMask::from_layers(n, layers);
  EXPECT_EQ(mask.entries(), std::uint64_t{n} * n);
  EXPECT_EQ(mask.row(123).size(), n);
  EXPECT_EQ(mask.row(123).data(), mask.row(456).data());  // one list serves both
  expect_error(ErrorCode::kInvalidArgument, "limit", [&] { mask.to_csr(); });
  // The upper layers alone are small.
  EXPECT_EQ(HnswMask::from_layers(n, Layers{layers[1]}).to_csr().entries(), 4U);
}

TEST(HnswMask, EdgesGoBothWaysOnce) {
  const Edges edges{{0, 1}, {1, 0}, {2, 0}, {3, 3}};
  const CsrMask both = HnswMask::from_edges(4, edges);
  EXPECT_EQ(both.entries(), 5U);
  EXPECT_TRUE(both.contains(0, 2));
  EXPECT_TRUE(both.contains(3, 3));
  const CsrMask one_way = HnswMask::from_edges(4, edges, false);
  EXPECT_EQ(one_way.entries(), 4U);
  EXPECT_FALSE(one_way.contains(0, 2));
  EXPECT_EQ(HnswMask::from_edges(one_way), both);
  EXPECT_EQ(HnswMask::from_edges(0, Edges{}).rows(), 0U);
}

TEST(HnswMask, AdaptiveIsTheUnionWithAWindow) {
  const Edges edges{{0, 9}, {4, 5}, {9, 2}};
  const CsrMask mask = HnswMask::adaptive(10, 1, edges);
  for (std::size_t i = 0; i < 10; ++i) {
    for (std::size_t j = 0; j < 10; ++j) {
      const bool linked =
          (i == 0 && j == 9) || (i == 9 && j == 0) || (i == 9 && j == 2) || (i == 2 && j == 9);
      EXPECT_EQ(mask.contains(i, j), linked || (i > j ? i - j : j - i) <= 1);
    }
  }
  EXPECT_EQ(HnswMask::adaptive(1, HnswMask::from_edges(10, edges, false)), mask);
}

TEST(HnswMask, NodesOutsideTheGraphAreRefused) {
  expect_error(ErrorCode::kInvalidArgument, "layer 1", [] {
    HnswMask::from_layers(4, Layers{{0}, {4}});
  });
  expect_error(ErrorCode::kInvalidArgument, "(1, 4)", [] {
    HnswMask::from_edges(4, Edges{{1, 4}});
  });
  expect_error(ErrorCode::kInvalidArgument, "(7, 0)", [] {
    HnswMask::adaptive(4, 1, Edges{{7, 0}});
  });
  expect_error(ErrorCode::kDimensionMismatch, "2 rows over 3", [] {
    HnswMask::from_edges(CsrMask({0, 1, 1}, {2}, 3));
  });
}

TEST(HnswMask, EmptyLayersAndGraphs) {
  EXPECT_EQ(HnswMask::from_layers(0, Layers{}).to_csr().rows(), 0U);
  const LayerMask none = HnswMask::from_layers(3, Layers{{}, {}});
  EXPECT_EQ(none.entries(), 0U);
  EXPECT_TRUE(none.row(2).empty());
}

}  // namespace
}  // namespace halo::attention
