#include "halo/gnn/conv/gcn_conv.h"

#include <gtest/gtest.h>

#include <cmath>

#include "gnn/conv/conv_goldens.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

class GcnGoldens : public testing::TestWithParam<std::string> {};

TEST_P(GcnGoldens, ForwardAndGradientsMatchPyTorch) {
  const test::Golden golden = test::read_golden(GetParam());
  const ConvGraph graph(test::golden_mask(golden), true);
  GcnConvOptions options;
  options.improved = GetParam() == "gcn_improved";
  const Matrix& x = golden.at("x");
  GcnConv layer(x.cols(), golden.at("out").cols(), options);
  test::set_parameters(layer, golden);
  test::expect_near(layer.forward(x, graph, Executor(2)), golden.at("out"), "out");
  attention::Gradients gradients(layer.named_parameters());
  Matrix d_x(x.rows(), x.cols());
  const MatrixSpan d_x_span = d_x;
  layer.backward(x, graph, golden.at("d_out"), &d_x_span, gradients, Executor(2));
  test::expect_near(d_x, golden.at("d_x"), "d_x");
  test::expect_gradients(gradients, golden);
}
INSTANTIATE_TEST_SUITE_P(All, GcnGoldens, testing::Values("gcn", "gcn_improved"));

TEST(GcnConv, WithoutNormalisationItSumsTheRow) {
  const std::pair<std::uint32_t, std::uint32_t> pairs[] = {{0, 1}, {0, 2}, {2, 0}};
  const ConvGraph graph(CsrMask::from_pairs(3, 3, pairs), false);
  GcnConvOptions options;
  options.normalize = false;
  options.bias = false;
  GcnConv layer(2, 2, options);
  layer.visit([](const std::string&, const MatrixSpan& w) {
    w.row(0)[0] = w.row(1)[1] = 1.0F, w.row(0)[1] = w.row(1)[0] = 0.0F;
  });
  Matrix x(3, 2);
  for (std::size_t i = 0; i < 3; ++i) x.row(i)[0] = static_cast<float>(i + 1);
  const Matrix out = layer.forward(x, graph, Executor(1));
  EXPECT_EQ(out.row(0)[0], 5.0F);
  EXPECT_EQ(out.row(1)[0], 0.0F);  // no edge
  EXPECT_EQ(out.row(2)[0], 1.0F);
}

TEST(GcnConv, GlorotWeightsStayWithinTheirBoundsAndFollowTheSeed) {
  GcnConvOptions options;
  const GcnConv a(30, 20, options), b(30, 20, options);
  options.seed = 2;
  const GcnConv c(30, 20, options);
  const auto first = [](const GcnConv& layer) { return layer.named_parameters()[0].value; };
  const double limit = std::sqrt(6.0 / 50.0);
  double largest = 0;
  for (std::size_t i = 0; i < 20; ++i) {
    for (std::size_t j = 0; j < 30; ++j) {
      largest = std::max(largest, std::abs(static_cast<double>(first(a).row(i)[j])));
      EXPECT_EQ(first(a).row(i)[j], first(b).row(i)[j]);
    }
  }
  EXPECT_LE(largest, limit);
  EXPECT_GT(largest, 0.9 * limit);
  EXPECT_NE(first(a).row(0)[0], first(c).row(0)[0]);
}

TEST(GcnConv, RefusesOtherShapes) {
  halo::test::expect_error(ErrorCode::kInvalidArgument, "channels", [] { GcnConv(0, 3); });
  const ConvGraph graph(CsrMask::from_rows({{0}, {1}}, 2), true);
  const GcnConv layer(3, 2);
  halo::test::expect_error(ErrorCode::kDimensionMismatch, "another shape",
                           [&] { layer.forward(Matrix(2, 4), graph, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
