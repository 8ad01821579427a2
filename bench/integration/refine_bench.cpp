// What refinement costs a query: one thread, 400 candidates, 512 dimensions, beside the graph
// search it follows.
//
// bench_refine [--benchmark_format=json]: names refine/auto/d:<d>/C:<candidates>/threads:1,
// counters search_ms and refine_ms a query.
#include <benchmark/benchmark.h>

#include <cstddef>
#include <memory>

#include "halo/core/random.h"
#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"

namespace halo {
namespace {

constexpr std::size_t kRows = 100000, kQueries = 500, kClusters = 400;

Matrix clustered(std::size_t rows, std::size_t dim, std::uint64_t stream) {
  Matrix x = Matrix::padded(rows, dim);
  Random noise(7, stream);
  for (std::size_t i = 0; i < rows; ++i) {
    Random centre(11, i % kClusters);
    for (std::size_t d = 0; d < dim; ++d) {
      x.row(i)[d] = static_cast<float>(centre.normal() + 1.5 * noise.normal());
    }
  }
  return x;
}

struct Setting {
  Engine engine;
  Matrix queries;
};

const Setting& setting(std::size_t dim) {
  static std::unique_ptr<Setting> made;
  if (!made || made->queries.cols() != dim) {
    const Executor executor;
    BuildOptions options;
    options.metric = Metric::kCosine;
    made = std::make_unique<Setting>(Setting{
        Engine::build(clustered(kRows, dim, 0), {}, options, executor).refined({}, executor),
        clustered(kQueries, dim, 1)});
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
  state.counters["gate"] = gate;  // 0 would mean that nothing was refined
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
