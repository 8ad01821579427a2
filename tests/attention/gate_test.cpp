#include "halo/attention/gate.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "attention_test_support.h"

namespace halo::attention {
namespace {

// Two heads of two dimensions; the part of head 1 of a blended node.
std::vector<float> blend(const Gate& gate, bool has_local = true) {
  const std::vector<float> x{1, 2, 3, 4}, global{-5, -6, 10, 20};
  std::vector<float> local{7, 8, 1, 2};
  if (!has_local) local = {0, 0, 0, 0};
  gate.blend(x.data(), has_local, local.data(), global.data(), local.data());
  return {local[2], local[3]};
}

Gate with(Gate gate, const std::vector<NamedMatrix>& values) {
  assign_parameters(values, [&](const auto& visitor) { gate.visit(visitor); });
  return gate;
}

Matrix matrix(std::size_t rows, std::size_t cols, const std::vector<float>& values) {
  return Matrix::copy_of({values.data(), rows, cols});
}

TEST(Gate, ConvexStartsNearEvenAndSeeded) {
  const Gate gate(4, 2, {.seed = 3});
  const MatrixView g = gate.named()[0].value;
  EXPECT_EQ(gate.named()[0].name, "gate");
  for (std::size_t h = 0; h < 2; ++h) {
    for (std::size_t c = 0; c < 2; ++c) EXPECT_LE(std::fabs(g.row(h)[c]), 0.01F);
  }
  EXPECT_NE(g.row(0)[0], g.row(1)[1]);
  test::expect_same_bytes(g, Gate(4, 2, {.seed = 3}).named()[0].value);
}

TEST(Gate, ConvexIsTheNotesFormula) {
  const Matrix g = matrix(2, 2, {0, 0, 2, -1});
  const std::vector<float> out = blend(with(Gate(4, 2, {}), {{"gate", g}}));
  const double a = 1 / (1 + std::exp(-2.0)), b = 1 / (1 + std::exp(1.0));
  EXPECT_NEAR(out[0], a * 1 + (1 - a) * 10, 1e-5);
  EXPECT_NEAR(out[1], b * 2 + (1 - b) * 20, 1e-5);
}

TEST(Gate, ConvexWithoutLocalNeighboursIsTheGlobalPart) {
  EXPECT_EQ(blend(Gate(4, 2, {}), false), (std::vector<float>{10, 20}));
}

TEST(Gate, SignedStartsAsTheLocalPartAndCanSubtract) {
  const AttentionOptions tanh{.gate = GateMode::kSigned};
  const AttentionOptions raw{.gate = GateMode::kSigned, .gate_limit = GateLimit::kNone};
  EXPECT_EQ(blend(Gate(4, 2, tanh)), (std::vector<float>{1, 2}));
  const Matrix g = matrix(2, 2, {0, 0, -2, 3});
  const std::vector<float> limited = blend(with(Gate(4, 2, tanh), {{"gate", g}}));
  EXPECT_NEAR(limited[0], 1 + std::tanh(-2.0) * 10, 1e-5);
  EXPECT_NEAR(limited[1], 2 + std::tanh(3.0) * 20, 1e-5);
  EXPECT_EQ(blend(with(Gate(4, 2, raw), {{"gate", g}})), (std::vector<float>{-19, 62}));
}

TEST(Gate, SignedPerNodeDependsOnTheNode) {
  const AttentionOptions options{.gate = GateMode::kSignedPerNode};
  EXPECT_EQ(blend(Gate(4, 2, options)), (std::vector<float>{1, 2}));
  const Matrix w = matrix(2, 4, {9, 9, 9, 9, 0.1F, -0.2F, 0, 0.05F}), b = matrix(1, 2, {9, 0.4F});
  const Gate gate = with(Gate(4, 2, options), {{"gate_weight", w}, {"gate_bias", b}});
  const double g = std::tanh(0.1 - 0.4 + 0.2 + 0.4);
  const std::vector<float> out = blend(gate);
  EXPECT_NEAR(out[0], 1 + g * 10, 1e-5);
  EXPECT_NEAR(out[1], 2 + g * 20, 1e-5);
  EXPECT_EQ(blend(gate.copy()), out);
}

}  // namespace
}  // namespace halo::attention
