#include "halo/gnn/conv/conv_graph.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo::gnn {
namespace {

TEST(ConvGraph, AddsSelfLoopsOnceAndTurnsEdges) {
  const CsrMask mask = CsrMask::from_rows({{0, 2}, {2}, {}}, 3);
  const ConvGraph graph(mask, true);
  EXPECT_EQ(graph.mask(), CsrMask::from_rows({{0, 2}, {1, 2}, {2}}, 3));
  EXPECT_EQ(ConvGraph(mask, false).mask(), mask);
  // Every turned edge is the edge it says it is.
  std::size_t place = 0;
  for (std::uint32_t j = 0; j < 3; ++j) {
    for (const std::uint32_t i : graph.transposed().row(j)) {
      const std::uint64_t e = graph.edge_of()[place++];
      EXPECT_EQ(graph.mask().columns()[e], j);
      EXPECT_LE(graph.mask().row_offsets()[i], e);
      EXPECT_LT(e, graph.mask().row_offsets()[i + 1]);
    }
  }
  EXPECT_EQ(place, graph.mask().entries());
}

TEST(ConvGraph, RefusesAMaskThatIsNotSquare) {
  test::expect_error(ErrorCode::kInvalidArgument, "not square",
                     [] { ConvGraph(CsrMask::from_rows({{0}}, 2), true); });
}

}  // namespace
}  // namespace halo::gnn
