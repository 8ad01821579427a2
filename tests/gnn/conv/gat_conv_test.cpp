#include "halo/gnn/conv/gat_conv.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "gnn/conv/conv_goldens.h"
#include "support/test_support.h"

namespace halo::gnn {
namespace {

struct GatCase {
  const char* golden;
  GatVersion version;
  std::size_t heads;
  bool concat, shared;
};

class GatGoldens : public testing::TestWithParam<GatCase> {};

TEST_P(GatGoldens, ForwardAndGradientsMatchPyTorch) {
  const test::Golden golden = test::read_golden(GetParam().golden);
  const ConvGraph graph(test::golden_mask(golden), true);
  GatConvOptions options;
  options.version = GetParam().version;
  options.heads = GetParam().heads;
  options.concat = GetParam().concat;
  options.share_weights = GetParam().shared;
  const Matrix& x = golden.at("x");
  GatConv layer(x.cols(), 3, options);
  test::set_parameters(layer, golden);
  GatConv::Saved saved;
  test::expect_near(layer.forward(x, graph, saved, Executor(2)), golden.at("out"), "out");
  attention::Gradients gradients(layer.named_parameters());
  Matrix d_x(x.rows(), x.cols());
  const MatrixSpan d_x_span = d_x;
  layer.backward(x, graph, saved, golden.at("d_out"), &d_x_span, gradients, Executor(2));
  test::expect_near(d_x, golden.at("d_x"), "d_x");
  test::expect_gradients(gradients, golden);
}
INSTANTIATE_TEST_SUITE_P(
    All, GatGoldens,
    testing::Values(GatCase{"gat_concat", GatVersion::kGat, 2, true, false},
                    GatCase{"gat_mean", GatVersion::kGat, 3, false, false},
                    GatCase{"gatv2_concat", GatVersion::kGatV2, 2, true, false},
                    GatCase{"gatv2_mean_shared", GatVersion::kGatV2, 3, false, true}),
    [](const auto& instance) { return instance.param.golden; });

// Dropped weights change the loss, so the gradient is that of the very mask that was drawn.
TEST(GatConv, GradientUnderDropoutMatchesFiniteDifferences) {
  const ConvGraph graph(CsrMask::from_rows({{1, 2, 3}, {0, 2}, {}, {0}}, 4), true);
  for (const GatVersion version : {GatVersion::kGat, GatVersion::kGatV2}) {
    GatConvOptions options;
    options.version = version;
    options.heads = 2;
    options.dropout = 0.4F;
    options.value_dropout = 0.3F;
    GatConv layer(3, 4, options);
    const Matrix x = halo::test::random_matrix(4, 3, 1), d_out = halo::test::random_matrix(4, 8, 2);
    const std::uint64_t stream = 5;
    const auto loss = [&] {
      GatConv::Saved saved;
      const Matrix out = layer.forward(x, graph, saved, Executor(1), &stream);
      double sum = 0;
      for (std::size_t i = 0; i < 4; ++i) {
        for (std::size_t j = 0; j < 8; ++j) {
          sum += static_cast<double>(out.row(i)[j]) * d_out.row(i)[j];
        }
      }
      return sum;
    };
    GatConv::Saved saved;
    layer.forward(x, graph, saved, Executor(1), &stream);
    attention::Gradients gradients(layer.named_parameters());
    layer.backward(x, graph, saved, d_out, nullptr, gradients, Executor(1));
    layer.visit([&](const std::string& name, const MatrixSpan& value) {
      for (std::size_t i = 0; i < value.rows; ++i) {
        const float kept = value.row(i)[0];
        value.row(i)[0] = kept + 5e-4F;
        const double above = loss();
        value.row(i)[0] = kept - 5e-4F;
        const double below = loss();
        value.row(i)[0] = kept;
        EXPECT_NEAR(gradients.at(name).row(i)[0], (above - below) / 1e-3, 2e-2) << name << i;
      }
    });
  }
}

TEST(GatConv, DropoutFollowsItsStreamAndAThreadCountChangesNothing) {
  const Matrix x = halo::test::random_matrix(200, 6, 3);
  std::vector<std::vector<std::uint32_t>> rows(200);
  for (std::uint32_t i = 0; i < 200; ++i) rows[i] = {(i * 7 + 1) % 200, (i * 3 + 5) % 200};
  const ConvGraph graph(CsrMask::from_rows(std::move(rows), 200), true);
  GatConvOptions options;
  options.heads = 2;
  options.dropout = 0.5F;
  const GatConv layer(6, 4, options);
  const auto run = [&](std::uint64_t stream, std::size_t threads) {
    GatConv::Saved saved;
    return layer.forward(x, graph, saved, Executor(threads), &stream);
  };
  const Matrix a = run(1, 1), b = run(1, 2), c = run(2, 1);
  EXPECT_EQ(std::memcmp(a.data(), b.data(), 200 * 8 * sizeof(float)), 0);
  EXPECT_NE(std::memcmp(a.data(), c.data(), 200 * 8 * sizeof(float)), 0);
}

TEST(GatConv, RefusesBadOptionsAndShapes) {
  GatConvOptions options;
  options.value_dropout = 1.0F;
  halo::test::expect_error(ErrorCode::kInvalidArgument, "out of range",
                           [&] { GatConv(3, 2, options); });
  options.value_dropout = 0.0F;
  options.dropout = 1.0F;
  halo::test::expect_error(ErrorCode::kInvalidArgument, "out of range",
                           [&] { GatConv(3, 2, options); });
  const ConvGraph graph(CsrMask::from_rows({{0}, {1}}, 2), true);
  GatConv::Saved saved;
  halo::test::expect_error(ErrorCode::kDimensionMismatch, "another shape",
                           [&] { GatConv(3, 2).forward(Matrix(3, 3), graph, saved, Executor(1)); });
}

}  // namespace
}  // namespace halo::gnn
