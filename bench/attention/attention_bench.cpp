// Forward passes at the notes' size (d_model 512, 8 heads), projections included, beside standard
// attention in plain Eigen: attention/<mechanism>/f32/n:<n>/threads:<t>.
//
// real_time is the wall time of one pass. Counters: extra_bytes, what is allocated beyond input,
// weights and output (Q, K and V included); gflops, counting the mechanism's own products.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "halo/attention/local_global_attention.h"
#include "halo/attention/standard_attention.h"
#include "halo/core/executor.h"
#include "halo/core/random.h"
#include "naive_eigen.h"

namespace {

using namespace halo;             // NOLINT(google-build-using-namespace)
using namespace halo::attention;  // NOLINT(google-build-using-namespace)

constexpr std::size_t kModel = 512, kHeads = 8, kWindow = 64, kGlobals = 16;
const AttentionOptions kOptions{.initialisation = Initialisation::kGlorot, .seed = 1};

Tensor input(std::size_t n) {
  Tensor x(1, n, kModel);
  Random random(7);
  for (std::size_t i = 0; i < n * kModel; ++i) x.data()[i] = static_cast<float>(random.normal());
  return x;
}

double projection_flops(std::size_t n) { return 8.0 * static_cast<double>(n * kModel * kModel); }
// Logits and weighted sums over `keys` keys a row, all heads.
double core_flops(std::size_t n, std::size_t keys) {
  return 4.0 * static_cast<double>(n) * static_cast<double>(keys * kModel);
}

template <class Pass>
void measure(benchmark::State& state, double flops, Pass pass, const std::size_t& extra_bytes) {
  double seconds = 0.0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  state.counters["extra_bytes"] = static_cast<double>(extra_bytes);
  state.counters["gflops"] = flops * static_cast<double>(state.iterations()) / seconds * 1e-9;
}

void naive_eigen(benchmark::State& state, std::size_t n) {
  const Tensor x = input(n);
  const Projections weights(kModel, kHeads, kOptions);
  const Matrix w_q = Matrix::copy_of(weights.w_q()), w_k = Matrix::copy_of(weights.w_k()),
               w_v = Matrix::copy_of(weights.w_v()), w_o = Matrix::copy_of(weights.w_o());
  Tensor out(1, n, kModel);
  measure(
      state, projection_flops(n) + core_flops(n, n),
      [&] {
        bench::naive_eigen_attention(x.data(), n, kModel, kHeads, w_q.data(), w_k.data(),
                                     w_v.data(), w_o.data(), out.data());
        benchmark::ClobberMemory();
      },
      bench::naive_eigen_bytes(n, kModel, kHeads));
}

void standard(benchmark::State& state, std::size_t n, std::size_t threads) {
  const Tensor x = input(n);
  const StandardAttention attention(kModel, kHeads, kOptions);
  const Executor executor(threads);
  Tensor out(1, n, kModel);
  std::size_t bytes = 0;
  measure(
      state, projection_flops(n) + core_flops(n, n),
      [&] {
        Workspace workspace;
        attention.forward(x, out, workspace, executor);
        bytes = workspace.bytes();
      },
      bytes);
}

void local_global(benchmark::State& state, std::size_t n, std::size_t threads) {
  const Tensor x = input(n);
  std::vector<std::uint32_t> globals(kGlobals);
  for (std::size_t g = 0; g < kGlobals; ++g) {
    globals[g] = static_cast<std::uint32_t>(g * n / kGlobals);
  }
  const LocalGlobalAttention attention(kModel, kHeads, kWindow, globals, kOptions);
  const Executor executor(threads);
  Tensor out(1, n, kModel);
  std::size_t bytes = 0;
  measure(
      state, projection_flops(n) + core_flops(n, 2 * kWindow + 1 + kGlobals),
      [&] {
        Workspace workspace;
        attention.forward(x, nullptr, out, workspace, executor);
        bytes = workspace.bytes();
      },
      bytes);
}

void add(const std::string& mechanism, std::size_t n, std::size_t threads, auto function) {
  const std::string name = "attention/" + mechanism + "/f32/n:" + std::to_string(n) +
                           "/threads:" + std::to_string(threads);
  benchmark::RegisterBenchmark(name.c_str(), function)->Unit(benchmark::kMillisecond);
}

}  // namespace

int main(int argc, char** argv) {
  const Executor all;
  for (const std::size_t n : {512U, 2048U}) {
    add("naive_eigen", n, 1, [n](benchmark::State& s) { naive_eigen(s, n); });
    for (const std::size_t threads : {std::size_t{1}, all.threads()}) {
      add("standard", n, threads, [=](benchmark::State& s) { standard(s, n, threads); });
      add("local_global", n, threads, [=](benchmark::State& s) { local_global(s, n, threads); });
      if (all.threads() == 1) break;
    }
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
