#include "halo/attention/projections.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

using test::expect_error;

double value_at(const MatrixView& m, std::size_t i, std::size_t j) {
  return static_cast<double>(m.row(i)[j]);
}

TEST(Projections, IdentityIsTheDefault) {
  const Projections p(6, 2, {});
  for (const NamedMatrix& w : p.named()) {
    for (std::size_t i = 0; i < 6; ++i) {
      for (std::size_t j = 0; j < 6; ++j) EXPECT_EQ(w.value.row(i)[j], i == j ? 1.0F : 0.0F);
    }
  }
}

TEST(Projections, GlorotIsSeededBoundedAndDifferentPerMatrix) {
  const AttentionOptions options{.initialisation = Initialisation::kGlorot, .seed = 5};
  const Projections a(32, 4, options), b(32, 4, options);
  const Projections c(32, 4, {.initialisation = Initialisation::kGlorot, .seed = 6});
  const double limit = std::sqrt(6.0 / 64.0);
  for (std::size_t m = 0; m < 4; ++m) {
    test::expect_same_bytes(a.named()[m].value, b.named()[m].value);
    EXPECT_NE(value_at(a.named()[m].value, 0, 0), value_at(c.named()[m].value, 0, 0));
    EXPECT_NE(value_at(a.named()[m].value, 0, 0), value_at(a.named()[(m + 1) % 4].value, 0, 0));
    double squares = 0.0;
    for (std::size_t i = 0; i < 32; ++i) {
      for (std::size_t j = 0; j < 32; ++j) {
        const double w = value_at(a.named()[m].value, i, j);
        ASSERT_LE(std::fabs(w), limit);
        squares += w * w;
      }
    }
    EXPECT_NEAR(squares / 1024.0, limit * limit / 3.0, 0.1 * limit * limit / 3.0);
  }
}

TEST(Projections, AZeroOutputStart) {
  const Projections p(8, 2, {.initialisation = Initialisation::kGlorotZeroOutput});
  EXPECT_NE(value_at(p.w_q(), 0, 0), 0.0);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_EQ(value_at(p.w_o(), i, i), 0.0);
}

TEST(Projections, RefusesHeadsThatDoNotDivide) {
  for (const auto& [d, h] : {std::pair<std::size_t, std::size_t>{10, 3}, {0, 1}, {8, 0}, {4, 8}}) {
    expect_error(ErrorCode::kInvalidArgument, "multiple of num_heads",
                 [d = d, h = h] { const Projections p(d, h, {}); });
  }
}

TEST(Projections, AWorkspaceIsReusedAndCounted) {
  Workspace workspace;
  EXPECT_EQ(workspace.bytes(), 0U);
  Workspace::fit(workspace.qkv, 20, 24);
  EXPECT_EQ(workspace.bytes(), 20U * 32U * sizeof(float));
  EXPECT_EQ(workspace.bytes_beyond_qkv(), 0U);
  const float* data = workspace.qkv.data();
  EXPECT_EQ(Workspace::fit(workspace.qkv, 7, 24).data, data);
}

// The weights' packed copies follow them.
TEST(Projections, ProjectsWithTheWeightsAsTheyAre) {
  const Executor executor(2);
  Projections p(8, 2, {});
  const Tensor x = test::random_tensor(2, 5, 8, 1);
  const Matrix w = test::random_matrix(8, 8, 2);
  const std::vector<NamedMatrix> changed{{"w_k", w}};
  assign_parameters(changed, [&](const auto& visitor) { p.visit(visitor); });
  const Projections copy = p.copy();
  Matrix qkv(10, 24);
  Tensor out(2, 5, 8);
  copy.project_in(x, qkv, executor);
  copy.project_out(qkv.view().sub_cols(8, 8), out, executor);
  const Matrix keys = test::plain_product(x.view().flat(), w);
  for (std::size_t i = 0; i < 10; ++i) {
    for (std::size_t c = 0; c < 8; ++c) {
      EXPECT_NEAR(qkv.row(i)[c], x.data()[i * 8 + c], 1e-6);
      EXPECT_NEAR(qkv.row(i)[8 + c], keys.row(i)[c], 1e-5);
      EXPECT_NEAR(out.data()[i * 8 + c], keys.row(i)[c], 1e-5);
    }
  }
}

TEST(Projections, AssignChecksNamesShapesAndValues) {
  Projections p(4, 1, {});
  const auto visit = [&](const auto& visitor) { p.visit(visitor); };
  const auto assign = [&](std::vector<NamedMatrix> from) { assign_parameters(from, visit); };
  const Matrix w = test::random_matrix(4, 4, 1), narrow = test::random_matrix(4, 3, 1);
  Matrix bad = test::random_matrix(4, 4, 1);
  bad.row(2)[1] = std::numeric_limits<float>::infinity();
  assign({{"w_k", w}});
  test::expect_same_bytes(p.w_k(), w);
  EXPECT_EQ(value_at(p.w_q(), 0, 0), 1.0);
  EXPECT_EQ(value_at(p.w_v(), 3, 3), 1.0);
  expect_error(ErrorCode::kInvalidArgument, "w_x", [&] { assign({{"w_x", w}}); });
  expect_error(ErrorCode::kInvalidArgument, "twice", [&] { assign({{"w_k", w}, {"w_k", w}}); });
  expect_error(ErrorCode::kDimensionMismatch, "4 x 3", [&] { assign({{"w_o", narrow}}); });
  expect_error(ErrorCode::kNonFinite, "row 2", [&] { assign({{"w_o", bad}}); });
}

}  // namespace
}  // namespace halo::attention
