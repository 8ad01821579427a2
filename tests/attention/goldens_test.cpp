// Every mechanism against outputs and gradients that PyTorch computed (goldens/make_goldens.py).
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <string>

#include "attention_test_support.h"
#include "gradient_check.h"
#include "halo/attention/flash_attention.h"
#include "halo/attention/head_attention.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/sparse_mask.h"
#include "halo/attention/standard_attention.h"

namespace halo::attention {
namespace {

constexpr std::size_t kBatch = 2, kN = 9, kModel = 12, kHeads = 3;
using Golden = std::map<std::string, Matrix>;
using Indices = std::vector<std::uint32_t>;

Golden read(const std::string& name) {
  std::ifstream file(std::string(HALO_GOLDENS) + "/" + name + ".txt");
  Golden golden;
  std::string key;
  std::size_t rows = 0, cols = 0;
  while (file >> key >> rows >> cols) {
    Matrix m(rows, cols);
    for (std::size_t i = 0; i < rows * cols; ++i) file >> m.data()[i];
    EXPECT_TRUE(file) << name << ", " << key;
    golden.emplace(key, std::move(m));
  }
  EXPECT_FALSE(golden.empty()) << name;
  return golden;
}

Tensor tensor_of(const Matrix& m) {
  Tensor tensor(kBatch, kN, kModel);
  std::copy_n(m.data(), kBatch * kN * kModel, tensor.data());
  return tensor;
}

template <class Layer, class Forward>
void check(const Layer& start, const std::string& name, const Forward& forward) {
  SCOPED_TRACE(name);
  const Golden golden = read(name);
  std::vector<NamedMatrix> parameters;
  for (const NamedMatrix& p : start.named_parameters()) {
    parameters.push_back({p.name, golden.at(p.name)});
  }
  const Layer layer = start.with_parameters(parameters);
  const Executor executor(2);
  const Tensor x = tensor_of(golden.at("x")), d_out = tensor_of(golden.at("d_out"));
  Tensor out(kBatch, kN, kModel), d_x(kBatch, kN, kModel);
  SavedForward saved;
  Gradients gradients(layer.named_parameters());
  forward(layer, x, out, saved, executor);
  const TensorSpan d_x_span = d_x;
  layer.backward(x, d_out, saved, &d_x_span, gradients, executor);
  test::expect_gradient("out", out.view().flat(), test::values_of(golden.at("out")), 1e-5);
  test::expect_gradient("x", d_x.view().flat(), test::values_of(golden.at("d_x")), 1e-5);
  for (const NamedMatrix& g : gradients.named()) {
    test::expect_gradient(g.name, g.value, test::values_of(golden.at("d_" + g.name)), 1e-5);
  }
}

const auto kForward = [](const auto& layer, const Tensor& x, Tensor& out, SavedForward& saved,
                         const Executor& executor) { layer.forward(x, out, saved, executor); };
const auto kForwardLocal = [](const auto& layer, const Tensor& x, Tensor& out, SavedForward& saved,
                              const Executor& executor) {
  layer.forward(x, nullptr, out, saved, executor);
};

// i attends to j where i is even and (i + 1) divides j.
std::shared_ptr<const CsrMask> ragged() {
  std::vector<Indices> rows(kN);
  for (std::uint32_t i = 0; i < kN; i += 2) {
    for (std::uint32_t j = 0; j < kN; j += i + 1) rows[i].push_back(j);
  }
  return std::make_shared<const CsrMask>(CsrMask::from_rows(std::move(rows), kN));
}

TEST(Goldens, StandardAndFlash) {
  check(StandardAttention(kModel, kHeads), "standard", kForward);
  check(FlashAttention(kModel, kHeads), "standard", kForward);
}

TEST(Goldens, FlashOverMaskAndBlocks) {
  FlashAttention attention(kModel, kHeads, 4);
  attention.update_mask(ragged());
  check(attention, "masked", kForward);
  attention.update_blocks(
      std::make_shared<const BlockMask>(kN, 4, CsrMask::from_rows({{0, 1}, {1}, {1, 2}}, 3)));
  check(attention, "blocks", kForward);
}

TEST(Goldens, LocalGlobal) {
  const Indices globals{0, kN - 1};
  const auto over_window = [&](GateMode gate) {
    return LocalGlobalAttention(kModel, kHeads, std::size_t{2}, globals, {.gate = gate});
  };
  const auto over_mask = [&](GateMode gate) {
    return LocalGlobalAttention(kModel, kHeads, ragged(), globals, {.gate = gate});
  };
  check(over_window(GateMode::kConvex), "window_convex", kForwardLocal);
  check(over_window(GateMode::kSigned), "window_signed", kForwardLocal);
  check(over_mask(GateMode::kConvex), "mask_convex", kForwardLocal);
  check(over_mask(GateMode::kSignedPerNode), "mask_signed_per_node", kForwardLocal);
}

TEST(Goldens, Linear) {
  const Golden golden = read("linear");
  const Executor executor(2);
  const RandomFeatures features = RandomFeatures::from_directions(golden.at("omega"));
  const Matrix &q = golden.at("q"), &k = golden.at("k"), &v = golden.at("v");
  const float scale = 1.0F / std::sqrt(6.0F);
  Matrix out(9, 6), d_q(9, 6), d_k(9, 6), d_v(9, 6);
  linear_attention(q, k, v, features, scale, out, executor);
  linear_attention_backward(q, k, v, features, scale, golden.at("d_out"), {d_q, d_k, d_v},
                            executor);
  test::expect_gradient("out", out, test::values_of(golden.at("out")), 1e-5);
  test::expect_gradient("q", d_q, test::values_of(golden.at("d_q")), 1e-5);
  test::expect_gradient("k", d_k, test::values_of(golden.at("d_k")), 1e-5);
  test::expect_gradient("v", d_v, test::values_of(golden.at("d_v")), 1e-5);
}

}  // namespace
}  // namespace halo::attention
