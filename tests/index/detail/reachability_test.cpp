#include "halo/index/detail/reachability.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "halo/index/snapshot_search.h"
#include "index/index_fixtures.h"

namespace halo::detail {
namespace {

// Points on a line, each linked with the next: 0 - 1 - ... - n - 1.
SnapshotParts line_of(std::size_t n) {
  SnapshotParts parts;
  parts.metric = Metric::kL2;
  parts.dim = 2;
  parts.M = 2;
  parts.ef_construction = 10;
  parts.vectors = Matrix::padded(n, 2);
  parts.ids.resize(n);
  std::iota(parts.ids.begin(), parts.ids.end(), Id{100});
  parts.levels.assign(n, 0);
  LayerLinks layer;
  layer.row_offsets = {0};
  for (std::size_t i = 0; i < n; ++i) {
    parts.vectors.row(i)[0] = static_cast<float>(i);
    layer.nodes.push_back(static_cast<Node>(i));
    if (i > 0) layer.neighbours.push_back(static_cast<Node>(i - 1));
    if (i + 1 < n) layer.neighbours.push_back(static_cast<Node>(i + 1));
    layer.row_offsets.push_back(layer.neighbours.size());
  }
  parts.layers = {layer};
  return parts;
}

// Removes the links into `node` (and out of it, if `both`).
void cut(LayerLinks& layer, Node node, bool both) {
  LayerLinks out;
  out.nodes = layer.nodes;
  out.row_offsets = {0};
  for (std::size_t row = 0; row < layer.nodes.size(); ++row) {
    for (std::uint64_t e = layer.row_offsets[row]; e < layer.row_offsets[row + 1]; ++e) {
      if (layer.neighbours[e] == node || (both && layer.nodes[row] == node)) continue;
      out.neighbours.push_back(layer.neighbours[e]);
    }
    out.row_offsets.push_back(out.neighbours.size());
  }
  layer = out;
}

std::size_t unreachable(const SnapshotParts& parts) {
  const auto mark = reachable_nodes(parts);
  return static_cast<std::size_t>(std::count(mark.begin(), mark.end(), 0));
}

TEST(Reachability, EverythingOnALine) {
  SnapshotParts parts = line_of(20);
  parts.entry_point = 7;
  EXPECT_EQ(unreachable(parts), 0U);
  EXPECT_EQ(repair_unreachable(parts), 0U);
}

TEST(Reachability, OneNodeWithoutLinksInIsFoundAndRepaired) {
  for (const bool both : {true, false}) {
    SnapshotParts parts = line_of(20);
    cut(parts.layers[0], 19, both);
    EXPECT_EQ(unreachable(parts), 1U);
    EXPECT_EQ(reachable_nodes(parts)[19], 0);
    EXPECT_EQ(repair_unreachable(parts), 1U);
    EXPECT_EQ(unreachable(parts), 0U);
    const auto snapshot = GraphSnapshot::create(std::move(parts));
    EXPECT_EQ(snapshot->unreachable_count(), 0U);
    // The nearest of the others got the link, and has it back.
    const auto links = snapshot->neighbours(19, 0);
    EXPECT_EQ(std::vector<Node>(links.begin(), links.end()), std::vector<Node>{18});
    const auto back = snapshot->neighbours(18, 0);
    EXPECT_TRUE(std::binary_search(back.begin(), back.end(), Node{19}));
  }
}

TEST(Reachability, APartBehindAnUnreachableNodeNeedsOneLinkOnly) {
  SnapshotParts parts = line_of(20);
  cut(parts.layers[0], 12, false);  // 12 still leads to 13 ... 19, nothing leads to 12
  EXPECT_EQ(unreachable(parts), 8U);
  EXPECT_EQ(repair_unreachable(parts), 1U);
  EXPECT_EQ(unreachable(parts), 0U);
}

TEST(Reachability, ASnapshotReportsWhatASearchWouldMissAndSearchStillFindsIt) {
  SnapshotParts parts = line_of(20);
  cut(parts.layers[0], 19, true);
  cut(parts.layers[0], 18, true);
  const auto snapshot = GraphSnapshot::create(std::move(parts));
  EXPECT_EQ(snapshot->unreachable_count(), 2U);
  SearchOptions options;
  options.k = 20;
  std::vector<Neighbour> out(20);
  SearchScratch scratch;
  EXPECT_EQ(search(*snapshot, snapshot->vector(0), options, scratch, out), 20U);
}

TEST(Reachability, UpperLayersAreWaysIn) {
  SnapshotParts parts = line_of(20);
  // Two halves without a link between them, joined by layer 1.
  cut(parts.layers[0], 10, true);
  parts.levels[0] = parts.levels[15] = 1;
  parts.layers.push_back({{0, 15}, {0, 1, 2}, {15, 0}});
  EXPECT_EQ(unreachable(parts), 1U);
  EXPECT_EQ(reachable_nodes(parts)[10], 0);
  EXPECT_EQ(repair_unreachable(parts), 1U);
  EXPECT_EQ(GraphSnapshot::create(std::move(parts))->unreachable_count(), 0U);
}

TEST(Reachability, RepairsManyInARealGraph) {
  const Matrix data = test::clustered_matrix(400, 8, 10, 0.5F, 3);
  for (const Metric metric : test::kMetrics) {
    SnapshotParts parts = test::copy_parts(*test::snapshot_of(data, metric));
    for (Node node = 0; node < 400; node += 7) {
      if (node != parts.entry_point && parts.levels[node] == 0) cut(parts.layers[0], node, true);
    }
    const std::size_t missing = unreachable(parts);
    EXPECT_GT(missing, 40U);
    EXPECT_LE(repair_unreachable(parts), missing);
    EXPECT_EQ(GraphSnapshot::create(std::move(parts))->unreachable_count(), 0U);
  }
}

}  // namespace
}  // namespace halo::detail
