// Every gradient of GnnLayer and GnnModel against central differences of the same layers in plain
// double precision.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "attention/gradient_check.h"
#include "halo/gnn/gnn_model.h"
#include "halo/gnn/layer_norm.h"

namespace halo::gnn {
namespace {

using attention::LocalGlobalAttention;
using attention::NamedMatrix;
using attention::Tensor;
using attention::test::Plain;
using attention::test::Values;
using attention::test::values_of;
using Inputs = std::map<std::string, Values>;
using Indices = std::vector<std::uint32_t>;

constexpr std::size_t kModel = 6, kHeads = 2;
constexpr float kResidual = 0.7F;

// Row 0 has no neighbour, row 1 a single one, the others several.
CsrMask ragged(std::size_t n) {
  std::vector<Indices> rows(n);
  for (std::size_t i = 1; i < n; ++i) {
    for (std::size_t j = 0; j < n; j += i == 1 ? n : 2) {
      rows[i].push_back(static_cast<std::uint32_t>(j));
    }
  }
  return CsrMask::from_rows(rows, n);
}

void plain_layer_norm(Values& x, const Values& gain, const Values& bias) {
  for (std::size_t i = 0; i < x.size(); i += kModel) {
    double mean = 0, square = 0;
    for (std::size_t c = 0; c < kModel; ++c) mean += x[i + c] / kModel;
    for (std::size_t c = 0; c < kModel; ++c) {
      square += (x[i + c] - mean) * (x[i + c] - mean) / kModel;
    }
    for (std::size_t c = 0; c < kModel; ++c) {
      x[i + c] = (x[i + c] - mean) / std::sqrt(square + 1e-5) * gain[c] + bias[c];
    }
  }
}

void plain_l2(Values& x) {
  for (std::size_t i = 0; i < x.size(); i += kModel) {
    double square = 0;
    for (std::size_t c = 0; c < kModel; ++c) square += x[i + c] * x[i + c];
    for (std::size_t c = 0; square > 0 && c < kModel; ++c) x[i + c] /= std::sqrt(square);
  }
}

// One layer, with its parameters under `prefix` in `in`; signed gate without a limit.
Values plain_gnn_layer(const Inputs& in, const std::string& prefix, const Values& x, Norm norm,
                       const CsrMask& mask, const Indices& globals) {
  const std::size_t n = x.size() / kModel, width = kModel / kHeads;
  Values seen = x;
  if (norm == Norm::kPreLayer) {
    plain_layer_norm(seen, in.at(prefix + "norm_gain"), in.at(prefix + "norm_bias"));
  }
  const auto columns = [&](const char* name, std::size_t h) {
    const Values all = attention::test::product(seen, in.at(prefix + name), kModel);
    Values part;
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = h * width; c < (h + 1) * width; ++c) part.push_back(all[i * kModel + c]);
    }
    return part;
  };
  Values mixed(x.size());
  const double scale = 1.0 / std::sqrt(static_cast<double>(width));
  for (std::size_t h = 0; h < kHeads; ++h) {
    const Values q = columns("w_q", h), k = columns("w_k", h), v = columns("w_v", h);
    const Values local = attention::test::plain_attention(
        q, k, v, width, scale, [&](std::size_t i, std::size_t j) { return mask.contains(i, j); });
    const Values global =
        attention::test::plain_attention(q, k, v, width, scale, [&](std::size_t, std::size_t j) {
          return std::find(globals.begin(), globals.end(), j) != globals.end();
        });
    for (std::size_t i = 0; i < n; ++i) {
      for (std::size_t c = 0; c < width; ++c) {
        const double gate = globals.empty() ? 0.0 : in.at(prefix + "gate")[h * width + c];
        mixed[i * kModel + h * width + c] = local[i * width + c] + gate * global[i * width + c];
      }
    }
  }
  Values y = attention::test::product(mixed, in.at(prefix + "w_o"), kModel);
  for (std::size_t i = 0; i < y.size(); ++i) y[i] += static_cast<double>(kResidual) * x[i];
  if (norm == Norm::kPostLayer) {
    plain_layer_norm(y, in.at(prefix + "norm_gain"), in.at(prefix + "norm_bias"));
  }
  if (norm == Norm::kL2) plain_l2(y);
  return y;
}

// Glorot weights, gates and norms far from where they start.
GnnModel make_model(std::span<const Norm> norms) {
  std::vector<GnnModel::Block> blocks;
  for (std::size_t t = 0; t < norms.size(); ++t) {
    LocalGlobalAttention attention(kModel, kHeads, std::size_t{1}, Indices{},
                                   {.initialisation = attention::Initialisation::kGlorot,
                                    .seed = t,
                                    .gate = attention::GateMode::kSigned,
                                    .gate_limit = attention::GateLimit::kNone});
    blocks.push_back(
        {attention, GnnLayer(kModel, {.norm = norms[t], .residual_weight = kResidual})});
  }
  const GnnModel model(std::move(blocks));
  std::vector<Matrix> values;
  std::vector<std::string> names;
  for (const NamedMatrix& p : model.named_parameters()) {
    if (p.name.find("gate") == std::string::npos && p.name.find("norm") == std::string::npos) {
      continue;
    }
    values.push_back(test::random_matrix(p.value.rows, p.value.cols, 30 + values.size()));
    names.push_back(p.name);
  }
  std::vector<NamedMatrix> named;
  for (std::size_t i = 0; i < names.size(); ++i) named.push_back({names[i], values[i]});
  return model.with_parameters(named);
}

void check(std::span<const Norm> norms, std::size_t n, const std::vector<Indices>& globals) {
  const GnnModel model = make_model(norms);
  const CsrMask mask = ragged(n);
  const Matrix x = test::random_matrix(n, kModel, 5), d_y = test::random_matrix(n, kModel, 6);
  const LayerNodes nodes =
      layer_nodes_of(std::vector<std::span<const std::uint32_t>>(globals.begin(), globals.end()));
  Plain plain;
  plain.inputs["x"] = values_of(x);
  for (const NamedMatrix& p : model.named_parameters()) plain.inputs[p.name] = values_of(p.value);
  plain.forward = [&](const Inputs& in) {
    Values state = in.at("x");
    for (std::size_t t = 0; t < norms.size(); ++t) {
      state = plain_gnn_layer(in, "layers." + std::to_string(t) + ".", state, norms[t], mask,
                              globals[t]);
    }
    return state;
  };
  const Values weights = values_of(d_y);
  attention::Gradients first;
  for (const std::size_t threads : {1U, 4U}) {
    const Executor executor(threads);
    GnnModel::Saved saved;
    const Tensor y = model.forward(x, mask, nodes, saved, executor);
    attention::test::expect_gradient("output", y.view().flat(), plain.forward(plain.inputs), 1e-5);
    Matrix d_x(n, kModel);
    const attention::TensorSpan d_x_span = d_x.span();
    attention::Gradients gradients(model.named_parameters());
    model.backward(x, saved, d_y, &d_x_span, gradients, executor);
    attention::test::expect_gradient("x", d_x, plain.gradient("x", weights), 2e-5);
    for (const NamedMatrix& g : gradients.named()) {
      attention::test::expect_gradient(g.name, g.value, plain.gradient(g.name, weights), 2e-5);
    }
    if (threads == 1) {
      first = std::move(gradients);
      continue;
    }
    const auto one = first.named(), four = gradients.named();
    for (std::size_t p = 0; p < one.size(); ++p) {
      attention::test::expect_same_bytes(one[p].value, four[p].value);
    }
  }
}

TEST(GnnBackward, EveryNormOfOneLayer) {
  for (const Norm norm : {Norm::kNone, Norm::kL2, Norm::kPostLayer, Norm::kPreLayer}) {
    for (const std::size_t n : {1U, 2U, 7U}) {
      SCOPED_TRACE("norm " + std::to_string(static_cast<int>(norm)) + ", n " + std::to_string(n));
      const Norm norms[] = {norm};
      check(norms, n, {Indices{}});
      check(norms, n, {Indices{0, static_cast<std::uint32_t>(n - 1)}});
    }
  }
}

TEST(GnnBackward, AStackWithOtherGlobalNodesInEveryLayer) {
  const Norm norms[] = {Norm::kPreLayer, Norm::kPostLayer, Norm::kL2};
  check(norms, 6, {Indices{0, 3}, Indices{5}, Indices{}});
}

// A zero row has no direction to normalise: nothing flows through it.
TEST(GnnBackward, L2OfAZeroRow) {
  Matrix x(2, 3);
  x.row(1)[0] = 2.0F;
  std::vector<float> lengths(2);
  l2_normalise(x, lengths, Executor(1));
  EXPECT_EQ(lengths[0], 0.0F);
  EXPECT_EQ(lengths[1], 2.0F);
  Matrix d = test::random_matrix(2, 3, 1);
  const float second = d.row(1)[1];
  l2_normalise_backward(x, lengths, d, Executor(1));
  for (std::size_t c = 0; c < 3; ++c) EXPECT_EQ(d.row(0)[c], 0.0F);
  EXPECT_EQ(d.row(1)[0], 0.0F);
  EXPECT_FLOAT_EQ(d.row(1)[1], second / 2);
}

TEST(GnnBackward, ManyRowsGiveTheSameBytesAtAnyThreadCount) {
  const Matrix x = test::random_matrix(1000, 5, 1);
  const std::vector<float> gain = {1, 2, -1, 0.5F, 3};
  std::vector<float> sums[2];
  Matrix d[2];
  for (std::size_t run = 0; run < 2; ++run) {
    d[run] = test::random_matrix(1000, 5, 2);
    sums[run].assign(10, 0.0F);
    layer_norm_backward(x, gain, 1e-5F, d[run], std::span(sums[run]).first(5),
                        std::span(sums[run]).last(5), Executor(run == 0 ? 1 : 3));
  }
  EXPECT_EQ(sums[0], sums[1]);
  attention::test::expect_same_bytes(d[0], d[1]);
}

TEST(GnnBackward, RefusesOtherShapesAndNames) {
  const Norm norms[] = {Norm::kL2};
  const GnnModel model = make_model(norms);
  const CsrMask mask = ragged(4);
  const Matrix x = test::random_matrix(4, kModel, 5), wrong(3, kModel);
  GnnModel::Saved saved;
  attention::Gradients gradients(model.named_parameters());
  test::expect_error(ErrorCode::kInvalidArgument, "without its forward",
                     [&] { model.backward(x, saved, x, nullptr, gradients, Executor(1)); });
  model.forward(x, mask, nullptr, saved, Executor(1));
  test::expect_error(ErrorCode::kDimensionMismatch, "rows",
                     [&] { model.backward(x, saved, wrong, nullptr, gradients, Executor(1)); });
  const std::vector<NamedMatrix> unknown = {{"layers.1.w_q", x}};
  test::expect_error(ErrorCode::kInvalidArgument, "layers.1.w_q",
                     [&] { (void)model.with_parameters(unknown); });
}

}  // namespace
}  // namespace halo::gnn
