#include "halo/gnn/conv/gcn_conv.h"

#include <cmath>

#include "halo/core/error.h"
#include "halo/core/kernels/gemm.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"

namespace halo::gnn {
namespace {

constexpr std::size_t kRowsAtOnce = 64;

void require_shapes(const ConvInput& x, std::size_t nodes, std::size_t channels) {
  if (x.rows() != nodes || x.cols() != channels) {
    throw Error(ErrorCode::kDimensionMismatch, "graph convolution: input of another shape");
  }
}

}  // namespace

void glorot_uniform(const MatrixSpan& out, std::size_t fan_in, std::size_t fan_out,
                    std::uint64_t seed, std::uint64_t stream) {
  const double limit = std::sqrt(6.0 / static_cast<double>(fan_in + fan_out));
  Random random(seed, stream);
  for (std::size_t i = 0; i < out.rows; ++i) {
    for (float& value : out.row_span(i)) {
      value = static_cast<float>(limit * (2.0 * random.uniform() - 1.0));
    }
  }
}

GcnConv::GcnConv(std::size_t in_channels, std::size_t out_channels, const GcnConvOptions& options)
    : options_(options) {
  if (in_channels == 0 || out_channels == 0) {
    throw Error(ErrorCode::kInvalidArgument, "graph convolution: channels must be at least 1");
  }
  weight_ = Matrix(out_channels, in_channels);
  if (options.bias) bias_ = Matrix(1, out_channels);
  glorot_uniform(weight_, in_channels, out_channels, options.seed, 0);
}

std::vector<attention::NamedMatrix> GcnConv::named_parameters() const {
  std::vector<attention::NamedMatrix> named = {{"lin.weight", weight_.view()}};
  if (options_.bias) named.push_back({"bias", bias_.view()});
  return named;
}

void GcnConv::visit(const std::function<void(const std::string&, const MatrixSpan&)>& visitor) {
  visitor("lin.weight", weight_);
  if (options_.bias) visitor("bias", bias_);
}

// 1 / sqrt(degree) of every node.
std::vector<float> GcnConv::scales(const ConvGraph& graph) const {
  std::vector<float> scales(graph.nodes(), 1.0F);
  if (!options_.normalize) return scales;
  for (std::size_t i = 0; i < graph.nodes(); ++i) {
    auto degree = static_cast<float>(graph.mask().row(i).size());
    if (options_.improved && graph.mask().contains(i, i)) degree += 1.0F;
    scales[i] = degree > 0 ? 1.0F / std::sqrt(degree) : 0.0F;
  }
  return scales;
}

float GcnConv::edge_weight(std::size_t i, std::size_t j, const std::vector<float>& scales) const {
  return scales[i] * scales[j] * (options_.improved && i == j ? 2.0F : 1.0F);
}

Matrix GcnConv::forward(const ConvInput& x, const ConvGraph& graph,
                        const Executor& executor) const {
  require_shapes(x, graph.nodes(), in_channels());
  Matrix h(x.rows(), out_channels()), out(x.rows(), out_channels());
  x.times_transposed(weight_, h, executor);
  const auto scale = scales(graph);
  executor.parallel_for(x.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      for (const std::uint32_t j : graph.mask().row(i)) {
        kernels::axpy(edge_weight(i, j, scale), h.row(j), out.row(i), out.cols());
      }
      if (options_.bias) kernels::axpy(1.0F, bias_.row(0), out.row(i), out.cols());
    }
  });
  return out;
}

void GcnConv::backward(const ConvInput& x, const ConvGraph& graph, const MatrixView& d_out,
                       const MatrixSpan* d_x, attention::Gradients& gradients,
                       const Executor& executor) const {
  require_shapes(x, graph.nodes(), in_channels());
  require_shapes(d_out, graph.nodes(), out_channels());
  Matrix d_h(x.rows(), out_channels());
  const auto scale = scales(graph);
  executor.parallel_for(x.rows(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    for (std::size_t j = begin; j < end; ++j) {
      for (const std::uint32_t i : graph.transposed().row(j)) {
        kernels::axpy(edge_weight(i, j, scale), d_out.row(i), d_h.row(j), d_h.cols());
      }
    }
  });
  x.add_weight_gradient(d_h, gradients.at("lin.weight"), executor);
  if (options_.bias) {
    const MatrixSpan d_bias = gradients.at("bias");
    for (std::size_t i = 0; i < x.rows(); ++i) {
      kernels::axpy(1.0F, d_out.row(i), d_bias.row(0), d_bias.cols);
    }
  }
  if (d_x != nullptr) kernels::gemm(d_h, weight_, *d_x, executor);
}

}  // namespace halo::gnn
