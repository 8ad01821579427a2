#include "halo/index/graph_snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;

class Snapshot : public ::testing::Test {
 protected:
  Matrix data_ = test::clustered_matrix(400, 10, 6, 0.5F, 1);
  std::shared_ptr<const GraphSnapshot> snapshot_ = test::snapshot_of(data_);
};

TEST_F(Snapshot, LayersAreThoseOfTheLevels) {
  ASSERT_GE(snapshot_->num_layers(), 2U);
  for (std::size_t l = 0; l < snapshot_->num_layers(); ++l) {
    std::vector<Node> expected;
    for (Node node = 0; node < snapshot_->size(); ++node) {
      if (snapshot_->levels()[node] >= l) expected.push_back(node);
    }
    const auto nodes = snapshot_->layer_nodes(l);
    EXPECT_EQ(std::vector<Node>(nodes.begin(), nodes.end()), expected);
    const CsrView edges = snapshot_->edges(l);
    ASSERT_EQ(edges.rows(), nodes.size());
    EXPECT_EQ(edges.num_columns, snapshot_->size());
    validate(edges);
    for (std::size_t row = 0; row < nodes.size(); ++row) {
      const auto links = snapshot_->neighbours(nodes[row], l);
      EXPECT_TRUE(std::ranges::equal(links, edges.row(row)));
    }
    EXPECT_DOUBLE_EQ(snapshot_->average_degree(l),
                     static_cast<double>(edges.entries()) / static_cast<double>(nodes.size()));
  }
  EXPECT_EQ(snapshot_->levels()[snapshot_->entry_point()], snapshot_->num_layers() - 1);
}

TEST_F(Snapshot, LayersThatDoNotExist) {
  EXPECT_TRUE(snapshot_->layer_nodes(snapshot_->num_layers()).empty());
  EXPECT_TRUE(snapshot_->layer_nodes(1000).empty());
  EXPECT_TRUE(snapshot_->neighbours(0, 1000).empty());
  expect_error(ErrorCode::kInvalidArgument, "layer 1000", [&] { snapshot_->edges(1000); });
  expect_error(ErrorCode::kInvalidArgument, "layers",
               [&] { snapshot_->average_degree(snapshot_->num_layers()); });
}

TEST_F(Snapshot, AdaptiveWindowIsTwiceTheAverageDegree) {
  const double degree = snapshot_->average_degree();
  EXPECT_GT(degree, 3.0);
  EXPECT_NEAR(static_cast<double>(snapshot_->adaptive_window()), 2 * degree, 0.5);
  EXPECT_EQ(test::snapshot_of(test::random_matrix(1, 3, 1))->adaptive_window(), 0U);
}

TEST_F(Snapshot, FindsIdsAndOnlyThose) {
  for (Id id = 0; id < 400; ++id) EXPECT_EQ(snapshot_->id(snapshot_->find(id).value()), id);
  for (const Id id : {Id{-1}, Id{400}, std::numeric_limits<Id>::max()}) {
    EXPECT_FALSE(snapshot_->find(id).has_value());
  }
}

TEST_F(Snapshot, MemoryIsCountedByPart) {
  const auto usage = snapshot_->memory_usage();
  EXPECT_EQ(usage.vectors, 400U * 16 * 4);
  EXPECT_GE(usage.links, snapshot_->edges(0).entries() * 4);
  EXPECT_GE(usage.ids, 400U * 12);
  EXPECT_EQ(usage.total(), usage.vectors + usage.links + usage.ids + usage.other);
}

TEST_F(Snapshot, PartsMakeTheSameSnapshotAgain) {
  const auto again = GraphSnapshot::create(test::copy_parts(*snapshot_));
  EXPECT_TRUE(test::same_parts(*snapshot_, *again));
}

// Each way to break the parts, and what the error says.
TEST_F(Snapshot, RefusesEveryBrokenInvariant) {
  const auto expect_corrupt = [&](const std::string& text, auto&& damage) {
    SnapshotParts parts = test::copy_parts(*snapshot_);
    damage(parts);
    expect_error(ErrorCode::kCorrupt, text, [&] { GraphSnapshot::create(std::move(parts)); });
  };
  using P = SnapshotParts;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();

  expect_corrupt("metric number 77", [](P& p) { p.metric = static_cast<Metric>(77); });
  expect_corrupt("dimension 0", [](P& p) { p.dim = 0; });
  expect_corrupt("dimension 65537", [](P& p) { p.dim = 65537; });
  expect_corrupt("400 x 10, not 400 x 11", [](P& p) { p.dim = 11; });
  expect_corrupt("M 1", [](P& p) { p.M = 1; });
  expect_corrupt("M 257", [](P& p) { p.M = 257; });
  expect_corrupt("ef_construction", [](P& p) { p.ef_construction = 0; });
  expect_corrupt("no vectors", [](P& p) { p.ids.clear(); });
  expect_corrupt("400 x 10, not 399 x 10", [](P& p) { p.ids.pop_back(); });
  expect_corrupt("padded", [](P& p) { p.vectors = Matrix::copy_of(p.vectors); });
  expect_corrupt("399 levels", [](P& p) { p.levels.pop_back(); });
  expect_corrupt("0 layers", [](P& p) { p.layers.clear(); });
  expect_corrupt("65 layers", [](P& p) { p.layers.resize(65); });

  expect_corrupt("level 200", [](P& p) { p.levels[3] = 200; });
  expect_corrupt("the levels say", [](P& p) { ++*std::find(p.levels.begin(), p.levels.end(), 0); });
  expect_corrupt("is empty", [](P& p) { p.layers.push_back({{}, {0}, {}}); });
  expect_corrupt("layer 0 has 399 nodes", [](P& p) { p.layers[0].nodes.pop_back(); });
  expect_corrupt("layer 0 names node 400", [](P& p) { p.layers[0].nodes.back() = 400; });
  expect_corrupt("nodes of layer 0 are not ascending",
                 [](P& p) { std::swap(p.layers[0].nodes[5], p.layers[0].nodes[6]); });
  expect_corrupt("nodes of layer 0 are not ascending", [](P& p) { p.layers[0].nodes[5] = 4; });
  expect_corrupt("of a lower level", [](P& p) {
    auto& nodes = p.layers[1].nodes;
    const auto outside = [&](Node n) { return p.levels[n] == 0; };
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      // Any place where another node keeps the order.
      const Node next = nodes[i] + 1;
      if ((i + 1 == nodes.size() || next < nodes[i + 1]) && next < 400 && outside(next)) {
        nodes[i] = next;
        return;
      }
    }
  });
  expect_corrupt("entry point is node 400", [](P& p) { p.entry_point = 400; });
  expect_corrupt("not in the top layer", [](P& p) {
    p.entry_point =
        static_cast<Node>(std::find(p.levels.begin(), p.levels.end(), 0) - p.levels.begin());
  });

  expect_corrupt("row offsets of layer 0", [](P& p) { p.layers[0].row_offsets.pop_back(); });
  expect_corrupt("row offsets of layer 1", [](P& p) { p.layers[1].row_offsets.clear(); });
  expect_corrupt("row offsets of layer 0", [](P& p) { p.layers[0].row_offsets[0] = 1; });
  expect_corrupt("row offsets of layer 0", [](P& p) { ++p.layers[0].row_offsets.back(); });
  expect_corrupt("descend at row", [](P& p) { p.layers[0].row_offsets[7] = ~0ULL; });
  expect_corrupt("descend at row", [](P& p) { p.layers[0].row_offsets[7] = 0; });
  expect_corrupt("row offsets of layer 0", [](P& p) { p.layers[0].neighbours.pop_back(); });
  expect_corrupt("leads to no node", [](P& p) { p.layers[0].neighbours.back() = 400; });
  expect_corrupt("leads to no node", [](P& p) { p.layers[0].neighbours[3] = 0xffffffffU; });
  expect_corrupt("its own node", [](P& p) { p.layers[0].neighbours[0] = 0; });
  expect_corrupt("not in ascending order",
                 [](P& p) { std::swap(p.layers[0].neighbours[0], p.layers[0].neighbours[1]); });
  expect_corrupt("not in ascending order",
                 [](P& p) { p.layers[0].neighbours[1] = p.layers[0].neighbours[0]; });
  expect_corrupt("leaves the layer", [](P& p) {
    const auto low = std::find(p.levels.begin(), p.levels.end(), 0) - p.levels.begin();
    p.layers[1].neighbours[0] = static_cast<Node>(low);
  });

  for (const float bad : {nan, infinity, -infinity, 3e38F}) {
    expect_corrupt("vector of node 399", [bad](P& p) { p.vectors.row(399)[9] = bad; });
  }
  expect_corrupt("padding of node 8", [](P& p) { p.vectors.row(8)[10] = 1.0F; });
  expect_corrupt("padding of node 8", [nan](P& p) { p.vectors.row(8)[15] = nan; });
  expect_corrupt("negative", [](P& p) { p.ids[17] = -1; });
  expect_corrupt("id 5 is there twice",
                 [](P& p) { *std::find(p.ids.begin(), p.ids.end(), 6) = 5; });
}

TEST_F(Snapshot, CosineNeedsUnitVectors) {
  const auto cosine = test::snapshot_of(data_, Metric::kCosine);
  for (const float factor : {0.0F, 0.99F, 1.01F}) {
    SnapshotParts parts = test::copy_parts(*cosine);
    for (std::size_t j = 0; j < 10; ++j) parts.vectors.row(30)[j] *= factor;
    expect_error(ErrorCode::kCorrupt, "node 30 is not of unit length",
                 [&] { GraphSnapshot::create(std::move(parts)); });
  }
  SnapshotParts parts = test::copy_parts(*cosine);
  for (std::size_t j = 0; j < 10; ++j) parts.vectors.row(30)[j] *= 1.0001F;
  EXPECT_EQ(GraphSnapshot::create(std::move(parts))->size(), 400U);
}

}  // namespace
}  // namespace halo
