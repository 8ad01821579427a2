// Attention over a graph, 60,000 nodes x 32 edges, 4 heads of 32, nodes in a locality order: the
// fused kernel beside passes that gather and scatter.
#include <algorithm>
#include <memory>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/graph_attention.h"
#include "halo/core/random.h"
#include "naive_graph.h"
#include "neighbour_graph.h"
#include "passes.h"

namespace halo::bench {
namespace {

constexpr std::size_t kWidth = 128, kHeads = 4;
constexpr float kScale = 0.1767767F;

Matrix normal_rows(std::size_t rows, std::uint64_t seed) {
  Matrix m(rows, kWidth);
  Random random(seed);
  for (std::size_t i = 0; i < rows * kWidth; ++i) m.data()[i] = static_cast<float>(random.normal());
  return m;
}

struct Data {
  CsrMask mask = neighbour_graph();
  std::vector<std::uint32_t> from;  // the row of each edge
  Matrix q = normal_rows(mask.rows(), 1), k = normal_rows(mask.rows(), 2);
  Matrix v = normal_rows(mask.rows(), 3), d_out = normal_rows(mask.rows(), 4);
  HalfMatrix half_k = HalfMatrix::rounded(k), half_v = HalfMatrix::rounded(v);
  kernels::TransposedEdges edges = kernels::transposed_edges(mask);
  // What a training step keeps of its forward pass.
  Matrix out{mask.rows(), kWidth}, half_out{mask.rows(), kWidth};
  std::vector<float> lse = std::vector<float>(mask.rows() * kHeads), half_lse = lse;

  Data() {
    const kernels::GraphAttentionOptions options{.heads = kHeads, .scale = kScale};
    graph_attention_forward(q, k, v, mask, options, out, lse, Executor());
    graph_attention_forward(q, half_k, half_v, mask, options, half_out, half_lse, Executor());
    for (std::size_t i = 0; i < mask.rows(); ++i)
      from.insert(from.end(), mask.row(i).size(), static_cast<std::uint32_t>(i));
  }
  NaiveGraph naive() const {
    return {mask.rows(),     mask.entries(), kHeads,
            kWidth / kHeads, from.data(),    mask.columns().data()};
  }
};

const Data& data() {
  static const Data kData;
  return kData;
}

// Dot products and weighted sums: 2 products forward, 5 backward.
double flops(bool backward) {
  return (backward ? 5.0 : 2.0) * 2.0 * static_cast<double>(data().mask.entries() * kWidth);
}

struct Gradients {
  Matrix q{data().mask.rows(), kWidth}, k{data().mask.rows(), kWidth},
      v{data().mask.rows(), kWidth};
};

void gather_scatter(benchmark::State& state, bool half, bool backward) {
  const Data& d = data();
  const void* k = half ? static_cast<const void*>(d.half_k.row(0)) : d.k.data();
  const void* v = half ? static_cast<const void*>(d.half_v.row(0)) : d.v.data();
  Gradients g;
  measure(state, flops(backward), static_cast<double>(d.mask.entries()), [&]() -> Pass {
    return [&d, &g, k, v, half, backward] {
      const int bits = half ? 16 : 32;
      if (backward) {
        gather_scatter_backward(d.naive(), d.q.data(), k, v, bits, kScale, d.d_out.data(),
                                g.q.data(), g.k.data(), g.v.data());
      } else {
        gather_scatter_forward(d.naive(), d.q.data(), k, v, bits, kScale, g.q.data());
      }
    };
  });
}

void fused(benchmark::State& state, bool half, bool backward, std::size_t threads) {
  const Data& d = data();
  const Executor executor(threads);
  const kernels::GraphAttentionOptions options{.heads = kHeads, .scale = kScale};
  Gradients g;
  measure(state, flops(backward), static_cast<double>(d.mask.entries()), [&]() -> Pass {
    auto workspace = std::make_shared<kernels::GraphWorkspace>();
    return [&d, &g, &executor, options, workspace, half, backward] {
      const kernels::GraphGradients to{g.q, g.k, g.v};
      if (backward && half) {
        graph_attention_backward(d.q, d.half_k, d.half_v, d.mask, d.edges, options,
                                 {d.half_out, d.half_lse}, d.d_out, to, *workspace, executor);
      } else if (backward) {
        graph_attention_backward(d.q, d.k, d.v, d.mask, d.edges, options, {d.out, d.lse}, d.d_out,
                                 to, *workspace, executor);
      } else if (half) {
        graph_attention_forward(d.q, d.half_k, d.half_v, d.mask, options, to.q, {}, executor);
      } else {
        graph_attention_forward(d.q, d.k, d.v, d.mask, options, to.q, {}, executor);
      }
    };
  });
}

}  // namespace

void register_graph() {
  const std::size_t all = Executor().threads();
  for (const bool half : {false, true}) {
    for (const bool backward : {false, true}) {
      const std::string what = std::string(half ? "/bf16/" : "/f32/") +
                               (backward ? "backward" : "forward") + "/threads:";
      add("graph/gather_scatter" + what + "1",
          [=](benchmark::State& s) { gather_scatter(s, half, backward); });
      for (std::size_t threads = 1; threads <= all; threads = threads == all ? all + 1 : all) {
        add("graph/fused" + what + std::to_string(threads),
            [=](benchmark::State& s) { fused(s, half, backward, threads); });
      }
    }
  }
}

}  // namespace halo::bench
