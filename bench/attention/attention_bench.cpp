// Forward passes at the notes' size (d_model 512, 8 heads, window 64, 16 global nodes, 256
// features), projections included, beside standard attention in plain Eigen and on OpenBLAS:
//
//   attention/<naive_eigen|blas|standard|local_global|linear|flash>/<f32|bf16>/n:<n>/threads:<t>
//   graph/<gather_scatter|fused>/<f32|bf16>/<forward|backward>/threads:<t>
//   ceiling/<gemm|gather>/<f32|bf16>
//
// Times are wall times of one pass. Counters: extra_bytes, the most that was allocated at one time
// beyond input, weights and output (Q, K and V included); gflops, of the mechanism's own products;
// medges. A table of ratios follows on the console; --table asks for it whatever the format.
#include <algorithm>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <vector>

#include "halo/attention/flash_attention.h"
#include "halo/attention/linear_attention.h"
#include "halo/attention/local_global_attention.h"
#include "halo/attention/standard_attention.h"
#include "halo/core/random.h"
#include "naive_eigen.h"
#include "passes.h"
#include "ratio_table.h"
#ifdef HALO_BENCH_OPENBLAS
#include "openblas_peer.h"
#endif

namespace halo::bench {
namespace {

using attention::AttentionOptions;
using attention::Projections;
using attention::Tensor;
using attention::Workspace;

constexpr std::size_t kModel = 512, kHeads = 8, kWindow = 64, kGlobals = 16, kFeatures = 256;
constexpr std::size_t kSmallest = 512, kLargest = 65536, kLargestDense = 16384;
const AttentionOptions kOptions{.initialisation = attention::Initialisation::kGlorot, .seed = 1};

// bfloat16 weights, keys and values, where wanted.
AttentionOptions options(bool half) {
  AttentionOptions stored = kOptions;
  if (half) stored.storage = attention::Storage::kBfloat16;
  return stored;
}

struct Size {
  std::size_t n, threads;
};

// Drawn once for each n.
const Tensor& input(std::size_t n) {
  static std::map<std::size_t, Tensor> inputs;
  const auto [place, fresh] = inputs.try_emplace(n, 1, n, kModel);
  Tensor& x = place->second;
  if (!fresh) return x;
  Random random(7);
  for (std::size_t i = 0; i < n * kModel; ++i) x.data()[i] = static_cast<float>(random.normal());
  return x;
}

std::vector<std::uint32_t> globals(std::size_t n) {
  std::vector<std::uint32_t> indices(kGlobals);
  for (std::size_t g = 0; g < kGlobals; ++g) {
    indices[g] = static_cast<std::uint32_t>(g * n / kGlobals);
  }
  return indices;
}

double projection_flops(std::size_t n) { return 8.0 * static_cast<double>(n * kModel * kModel); }
// Logits and weighted sums over `keys` keys a row, all heads.
double core_flops(std::size_t n, std::size_t keys) {
  return 4.0 * static_cast<double>(n) * static_cast<double>(keys * kModel);
}
double dense_flops(std::size_t n) { return projection_flops(n) + core_flops(n, n); }
double local_global_flops(std::size_t n) {
  return projection_flops(n) + core_flops(n, 2 * kWindow + 1 + kGlobals);
}
// Features of q and k, and the products with values.
double linear_flops(std::size_t n) { return projection_flops(n) + 2 * core_flops(n, kFeatures); }

void naive_eigen(benchmark::State& state, const Size& size) {
  const Tensor& x = input(size.n);
  const Projections weights(kModel, kHeads, kOptions);
  const Matrix w_q = Matrix::copy_of(weights.w_q()), w_k = Matrix::copy_of(weights.w_k()),
               w_v = Matrix::copy_of(weights.w_v()), w_o = Matrix::copy_of(weights.w_o());
  Tensor out(1, size.n, kModel);
  measure(state, dense_flops(size.n), 0, [&]() -> Pass {
    return [&] {
      naive_eigen_attention(x.data(), size.n, kModel, kHeads, w_q.data(), w_k.data(), w_v.data(),
                            w_o.data(), out.data());
    };
  });
}

#ifdef HALO_BENCH_OPENBLAS
void blas(benchmark::State& state, const Size& size) {
  const Tensor& x = input(size.n);
  const Projections weights(kModel, kHeads, kOptions);
  Matrix w_qkv(kModel, 3 * kModel);
  for (std::size_t i = 0; i < kModel; ++i) {
    std::copy_n(weights.w_q().row(i), kModel, w_qkv.row(i));
    std::copy_n(weights.w_k().row(i), kModel, w_qkv.row(i) + kModel);
    std::copy_n(weights.w_v().row(i), kModel, w_qkv.row(i) + 2 * kModel);
  }
  const Matrix w_o = Matrix::copy_of(weights.w_o());
  Tensor out(1, size.n, kModel);
  measure(state, dense_flops(size.n), 0, [&]() -> Pass {
    return [&] {
      openblas_attention(x.data(), size.n, kModel, kHeads, w_qkv.data(), w_o.data(), size.threads,
                         out.data());
    };
  });
}
#endif

// A layer's forward pass; its workspace is kept between passes.
template <class Forward>
void layer(benchmark::State& state, const Size& size, double flops, const Forward& forward) {
  const Tensor& x = input(size.n);
  const Executor executor(size.threads);
  Tensor out(1, size.n, kModel);
  measure(state, flops, 0, [&]() -> Pass {
    auto workspace = std::make_shared<Workspace>();
    return [&, workspace] { forward(x, out, *workspace, executor); };
  });
}

template <bool kHalf>
void standard(benchmark::State& state, const Size& size) {
  const attention::StandardAttention of(kModel, kHeads, options(kHalf));
  layer(state, size, dense_flops(size.n),
        [&](const Tensor& x, Tensor& out, Workspace& w, const Executor& e) {
          of.forward(x, out, w, e);
        });
}

template <bool kHalf>
void flash(benchmark::State& state, const Size& size) {
  const attention::FlashAttention of(kModel, kHeads, 128, options(kHalf));
  layer(state, size, dense_flops(size.n),
        [&](const Tensor& x, Tensor& out, Workspace& w, const Executor& e) {
          of.forward(x, out, w, e);
        });
}

template <bool kHalf>
void linear(benchmark::State& state, const Size& size) {
  const attention::LinearAttention of(kModel, kHeads, kFeatures, options(kHalf));
  layer(state, size, linear_flops(size.n),
        [&](const Tensor& x, Tensor& out, Workspace& w, const Executor& e) {
          of.forward(x, out, w, e);
        });
}

template <bool kHalf>
void local_global(benchmark::State& state, const Size& size) {
  const attention::LocalGlobalAttention of(kModel, kHeads, kWindow, globals(size.n),
                                           options(kHalf));
  layer(state, size, local_global_flops(size.n),
        [&](const Tensor& x, Tensor& out, Workspace& w, const Executor& e) {
          of.forward(x, nullptr, out, w, e);
        });
}

struct Mechanism {
  const char* name;
  std::size_t largest;
  bool one_thread_only;
  void (*run)(benchmark::State&, const Size&);
};

void register_attention() {
  const std::vector<Mechanism> mechanisms{
      {"naive_eigen/f32", kLargestDense, true, naive_eigen},
#ifdef HALO_BENCH_OPENBLAS
      {"blas/f32", kLargestDense, false, blas},
#endif
      {"standard/f32", kLargestDense, false, standard<false>},
      {"standard/bf16", kLargestDense, false, standard<true>},
      {"local_global/f32", kLargest, false, local_global<false>},
      {"local_global/bf16", kLargest, false, local_global<true>},
      {"linear/f32", kLargest, false, linear<false>},
      {"linear/bf16", kLargest, false, linear<true>},
      {"flash/f32", kLargestDense, false, flash<false>},
      {"flash/bf16", kLargestDense, false, flash<true>}};
  const std::size_t all = Executor().threads();
  for (std::size_t n = kSmallest; n <= kLargest; n *= 2) {
    for (const Mechanism& m : mechanisms) {
      if (n > m.largest) continue;
      for (const std::size_t threads : {std::size_t{1}, all}) {
        const Size size{n, threads};
        add("attention/" + std::string(m.name) + "/n:" + std::to_string(n) +
                "/threads:" + std::to_string(threads),
            [run = m.run, size](benchmark::State& s) { run(s, size); });
        if (all == 1 || m.one_thread_only) break;
      }
    }
  }
}

// Takes --table out of the arguments.
bool wants_table(int& argc, char** argv) {
  bool wanted = false;
  int kept = 1;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--table") == 0) {
      wanted = true;
    } else {
      argv[kept++] = argv[i];
    }
  }
  argc = kept;
  return wanted;
}

bool is_console(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    const std::string argument = argv[i];
    if (argument.starts_with("--benchmark_format=")) return argument.ends_with("=console");
    if (argument.starts_with("--benchmark_list_tests")) return false;
  }
  return true;
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  using namespace halo::bench;  // NOLINT(google-build-using-namespace)
  const bool table = wants_table(argc, argv), console = is_console(argc, argv);
  keep_freed_memory();
  register_attention();
  register_graph();
  register_ceilings();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  if (console || table) {
    RatioTable reporter;
    benchmark::RunSpecifiedBenchmarks(&reporter);
    reporter.print(std::cout);
  } else {
    benchmark::RunSpecifiedBenchmarks();
  }
  benchmark::Shutdown();
  return 0;
}
