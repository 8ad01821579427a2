#include "halo/gnn/gnn_model.h"

#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include "halo/attention/hnsw_mask.h"
#include "halo/attention/sparse_mask.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

using attention::LocalGlobalAttention;
using attention::Tensor;
using test::expect_error;
using Nodes = std::vector<std::uint32_t>;

constexpr std::size_t kRows = 50, kModel = 12;

struct Graph {
  Graph() : layers{Nodes(kRows), {3, 14, 15, 41}, {14}} {
    std::iota(layers[0].begin(), layers[0].end(), 0U);
  }
  LayerNodes layer_nodes() const { return layer_nodes_of({layers.begin(), layers.end()}); }
  std::vector<Nodes> layers;
  CsrMask links = attention::HnswMask::from_edges(attention::SparseMask::random(kRows, 0.1, 1));
  Matrix x = test::random_matrix(kRows, kModel, 2);
};

LocalGlobalAttention make_attention(std::uint64_t seed = 1) {
  return LocalGlobalAttention(kModel, 3, std::size_t{4}, Nodes{},
                              {.initialisation = attention::Initialisation::kGlorot, .seed = seed});
}

bool same(const Tensor& a, const Tensor& b) {
  return a.dim() == b.dim() && a.n() == b.n() &&
         std::memcmp(a.data(), b.data(), a.batch() * a.n() * a.dim() * sizeof(float)) == 0;
}

TEST(GnnModel, IsTheNotesLoop) {
  const Graph g;
  const Executor executor(1);
  const GnnModel model(make_attention(), 4);
  // for layer_idx in 0..num_gnn_layers, word for word; layer 3 has no nodes.
  LocalGlobalAttention attention = make_attention();
  const GnnLayer gnn_layer(kModel);
  Tensor x = Tensor::copy_of(g.x);
  for (std::size_t layer_idx = 0; layer_idx < 4; ++layer_idx) {
    const Nodes global_nodes = layer_idx < 3 ? g.layers[layer_idx] : Nodes{};
    attention.update_global_indices(global_nodes);
    x = gnn_layer.forward(x, attention, executor);
  }
  EXPECT_TRUE(same(model.forward(g.x, g.layer_nodes(), executor), x));
}

TEST(GnnModel, AsksForTheNodesOfEachLayerOnce) {
  const Graph g;
  const Executor executor(1);
  std::vector<std::size_t> asked;
  const Nodes nodes{1};
  GnnModel(make_attention(), 3)
      .forward(
          g.x,
          [&](std::size_t t) {
            asked.push_back(t);
            return std::span<const std::uint32_t>(nodes);
          },
          executor);
  EXPECT_EQ(asked, (std::vector<std::size_t>{0, 1, 2}));
}

TEST(GnnModel, WithoutLayerNodesTheAttentionKeepsItsOwn) {
  const Graph g;
  const Executor executor(1);
  LocalGlobalAttention attention = make_attention();
  attention.update_global_indices(g.layers[1]);
  const GnnModel model(attention, 1);
  EXPECT_TRUE(same(model.forward(g.x, nullptr, executor),
                   model.forward(g.x, layer_nodes_of({g.layers[1]}), executor)));
}

TEST(GnnModel, LayersMayHaveTheirOwnAttention) {
  const Graph g;
  const Executor executor(1);
  const GnnModel model({{make_attention(1), GnnLayer(kModel, {.norm = Norm::kPreLayer})},
                        {make_attention(2), GnnLayer(kModel)}});
  const GnnModel first({{make_attention(1), GnnLayer(kModel, {.norm = Norm::kPreLayer})}});
  const GnnModel second({{make_attention(2), GnnLayer(kModel)}});
  const Nodes none;
  const LayerNodes nodes = layer_nodes_of({});
  const Tensor after_first = first.forward(g.x, g.links, nodes, executor);
  EXPECT_TRUE(same(model.forward(g.x, g.links, nodes, executor),
                   second.forward(after_first, g.links, nodes, executor)));
}

TEST(GnnModel, StatesAreEveryLayersOutput) {
  const Graph g;
  const Executor executor(2);
  const GnnModel three(make_attention(), 3);
  const auto states = three.forward_states(g.x, g.links, g.layer_nodes(), executor);
  ASSERT_EQ(states.size(), 3U);
  for (std::size_t t = 0; t < 3; ++t) {
    EXPECT_TRUE(
        same(states[t],
             GnnModel(make_attention(), t + 1).forward(g.x, g.links, g.layer_nodes(), executor)));
  }
}

TEST(GnnModel, GlobalNodesReachAcrossTheGraph) {
  // Two nodes without links between them: only the global node carries one's change to the other.
  const Graph g;
  const Executor executor(1);
  const CsrMask alone = attention::SparseMask::block_diagonal(kRows, 1);
  const GnnModel model(make_attention(), 1);
  Matrix moved = Matrix::copy_of(g.x);
  moved.row(14)[0] += 1.0F;
  const auto row_changes = [&](const LayerNodes& nodes) {
    const Tensor a = model.forward(g.x, alone, nodes, executor);
    const Tensor b = model.forward(moved, alone, nodes, executor);
    return std::memcmp(a.item(0).row(30), b.item(0).row(30), kModel * sizeof(float)) != 0;
  };
  EXPECT_FALSE(row_changes(layer_nodes_of({})));
  EXPECT_TRUE(row_changes(layer_nodes_of({g.layers[2]})));
}

TEST(GnnModel, TwoThreadsUseOneModelAndAnyExecutorGivesTheSameBytes) {
  const Graph g;
  const GnnModel model(make_attention(), 2);
  const Executor one(1), four(4);
  const Tensor want = model.forward(g.x, g.links, g.layer_nodes(), one);
  bool equal[2] = {false, false};
  {
    std::vector<std::jthread> threads;
    for (int t = 0; t < 2; ++t) {
      threads.emplace_back([&, t] {
        model.forward(g.x, g.links, layer_nodes_of({}), four);
        equal[t] = same(model.forward(g.x, g.links, g.layer_nodes(), four), want);
      });
    }
  }
  EXPECT_TRUE(equal[0] && equal[1]);
  EXPECT_TRUE(model.blocks()[0].attention.global_indices().empty());
}

TEST(GnnModel, RefusesBadStacksNodesAndMasks) {
  const Graph g;
  const Executor executor(1);
  expect_error(ErrorCode::kInvalidArgument, "at least one",
               [] { const GnnModel m(make_attention(), 0); });
  expect_error(ErrorCode::kDimensionMismatch, "layer 1", [] {
    const GnnModel m({{make_attention(), GnnLayer(kModel)}, {make_attention(), GnnLayer(6)}});
  });
  const GnnModel model(make_attention(), 2);
  const Nodes outside{kRows};
  expect_error(ErrorCode::kInvalidArgument, "index 50", [&] {
    model.forward(g.x, layer_nodes_of({{}, outside}), executor);
  });
  expect_error(ErrorCode::kDimensionMismatch, "mask", [&] {
    model.forward(g.x, attention::SparseMask::local_window(7, 1), g.layer_nodes(), executor);
  });
}

}  // namespace
}  // namespace halo::gnn
