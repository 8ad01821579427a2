// What refinement costs a query: one thread, 400 candidates, 512 dimensions, beside the graph
// search it follows.
//
// At 512 dimensions both kinds of label-free heads are at work, the first with content beside
// structure, the second like a graph-whitened one: the most that `auto` chooses. The counters say
// which heads ran. At 128 dimensions `auto` chooses, within its memory budget.
//
// bench_refine [--cache DIR] [--benchmark_format=json]: names
// refine/auto/d:<d>/C:<candidates>/threads:1, counters search_ms and refine_ms a query, gate, and
// the heads' weights and content shares. --cache keeps the refined indexes for the next run.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <exception>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "halo/core/random.h"
#include "halo/gnn/prepare_heads.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "halo/integration/refine.h"

namespace halo {
namespace {

constexpr std::size_t kRows = 100000, kQueries = 500, kClusters = 400;
constexpr std::size_t kBothHeads = 512, kSpectrumRows = 20000;

// Rows around kClusters centres, direction i scaled by (i + 1)^-0.325: as in embeddings, few
// directions carry much of the variance.
Matrix clustered(std::size_t rows, std::size_t dim, std::uint64_t stream) {
  Matrix x = Matrix::padded(rows, dim);
  Random noise(7, stream);
  for (std::size_t i = 0; i < rows; ++i) {
    Random centre(11, i % kClusters);
    for (std::size_t d = 0; d < dim; ++d) {
      const double scale = std::pow(static_cast<double>(d + 1), -0.325);
      x.row(i)[d] = static_cast<float>(scale * (centre.normal() + noise.normal()));
    }
  }
  return x;
}

struct Setting {
  Engine engine;
  Matrix queries;
};

std::filesystem::path cache;  // "": none

Engine with_both_heads(const Engine& engine, const Executor& executor) {
  const gnn::RefineOptions options;
  const gnn::Spectrum spectrum =
      gnn::covariance_spectrum(engine.snapshot()->vectors(), kSpectrumRows, executor);
  const std::vector<gnn::HeadPlan> plans = {
      {"c", 0.5F, 0.2F, gnn::leading_projection(spectrum, options.centred_rank)},
      {"g", 0.5F, 0.0F, gnn::spectral_projection(spectrum, options.whitened_rank)}};
  auto model = prepare_refinement(*engine.snapshot(), options, executor, {}, {}, plans);
  return Engine(engine.snapshot(), std::move(model));
}

Engine prepared(std::size_t dim) {
  const auto file = cache / ("refine_bench_" + std::to_string(dim) + ".halo");
  if (!cache.empty() && std::filesystem::exists(file)) return Engine::load(file);
  const Executor executor;
  BuildOptions options;
  options.metric = Metric::kCosine;
  Engine engine = Engine::build(clustered(kRows, dim, 0), {}, options, executor);
  engine = dim < kBothHeads ? engine.refined({}, executor) : with_both_heads(engine, executor);
  if (!cache.empty()) engine.save(file);
  return engine;
}

const Setting& setting(std::size_t dim) {
  static std::unique_ptr<Setting> made;
  if (!made || made->queries.cols() != dim) {
    made = std::make_unique<Setting>(Setting{prepared(dim), clustered(kQueries, dim, 1)});
  }
  return *made;
}

void refine_auto(benchmark::State& state) {
  const auto dim = static_cast<std::size_t>(state.range(0));
  QueryOptions options;
  options.candidates = static_cast<std::size_t>(state.range(1));
  options.refine = RefineMode::kAuto;
  const Setting& s = setting(dim);
  const Executor one(1);
  double search_seconds = 0, refine_seconds = 0, gate = 0;
  for (auto _ : state) {
    const BatchResults results = s.engine.search(s.queries, options, one);
    search_seconds += results.search_seconds;
    refine_seconds += results.refine_seconds;
    gate = results.gate;
  }
  const double queries = static_cast<double>(state.iterations()) * kQueries;
  state.counters["search_ms"] = 1e3 * search_seconds / queries;
  state.counters["refine_ms"] = 1e3 * refine_seconds / queries;
  state.counters["gate"] = gate;
  for (const auto& head : s.engine.model()->parts().heads) {
    state.counters["weight_" + head.name] = head.weight;
    state.counters["content_" + head.name] = head.content_share;
  }
  if (gate <= 0) state.SkipWithError("the gate is shut: nothing was refined");
}
BENCHMARK(refine_auto)
    ->Name("refine/auto")
    ->ArgNames({"d", "C"})
    ->Args({512, 400})
    ->Args({512, 1000})
    ->Args({128, 400})
    ->Unit(benchmark::kMillisecond)
    ->Threads(1)
    ->MinTime(1.0);

}  // namespace
}  // namespace halo

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::string_view(argv[i]) != "--cache") continue;
    halo::cache = argv[i + 1];
    for (int j = i; j + 2 <= argc; ++j) argv[j] = argv[j + 2];
    argc -= 2;
    break;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  try {
    benchmark::RunSpecifiedBenchmarks();
  } catch (const std::exception& error) {
    std::cerr << "bench_refine: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
