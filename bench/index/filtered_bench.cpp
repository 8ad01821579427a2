// Filtered searches where 1%, 10%, 50%, 90% and 99% of the vectors are filtered out, beside the
// same searches without a filter and exact ones over what is allowed, on one core.
//
//   bench_filtered [--data DIR] [--benchmark_filter=...]
//
// Each runs at the least ef whose recall@10 is .95. Counters: ef, recall, qps, exact_qps,
// unfiltered_qps (at its own least ef).
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "halo/index/vector_index.h"
#include "support/data_sets.h"
#include "support/one_by_one.h"

namespace halo::bench {
namespace {

constexpr std::size_t kNeighbours = 10, kQueries = 400, kExactQueries = 50;
constexpr double kRecall = 0.95;
using Clock = std::chrono::steady_clock;

std::string& folder() {
  static std::string path;
  return path;
}

const Executor& one_core() {
  static const Executor executor(1);
  return executor;
}

const DataSet& data() {
  static const DataSet set = folder().empty()
                                 ? load_default_set(kQueries, kNeighbours, "", Executor())
                                 : load_folder(folder());
  return set;
}

MatrixView queries() {
  return data().queries.view().sub_rows(0, std::min(kQueries, data().queries.rows()));
}

const GraphSnapshot& index() {
  static const auto snapshot = [] {
    BuildOptions options;
    options.metric = data().metric;
    const Executor all;
    VectorIndex builder(data().vectors.cols(), options);
    builder.add(data().vectors, all);
    return builder.seal(all);
  }();
  return *snapshot;
}

double queries_per_second(std::size_t count, Clock::time_point start) {
  return static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count();
}

struct Measured {
  std::size_t ef = 0;
  double recall = 0, qps = 0;
};

// The best of three runs at the least ef that reaches the recall.
Measured measure(const Filter& filter) {
  SearchOptions options;
  options.k = kNeighbours;
  options.filter = filter;
  const SearchResults exact = exact_search_batch(index(), queries(), options, Executor());
  Measured result;
  for (const std::size_t ef : {10U, 14U, 20U, 28U, 40U, 56U, 80U, 112U, 160U, 224U, 320U, 450U}) {
    options.ef = ef;
    result.ef = ef;
    result.recall =
        recall_at(kNeighbours, search_one_by_one(index(), queries(), options, one_core()), exact);
    if (result.recall >= kRecall) break;
  }
  for (int run = 0; run < 3; ++run) {
    const auto start = Clock::now();
    search_one_by_one(index(), queries(), options, one_core());
    result.qps = std::max(result.qps, queries_per_second(queries().rows, start));
  }
  return result;
}

const Measured& unfiltered() {
  static const Measured measured = measure({});
  return measured;
}

Filter keep_share(double share) {
  auto bits = std::make_shared<std::vector<std::uint64_t>>((index().size() + 63) / 64, 0);
  Random random(11);
  for (std::size_t i = 0; i < index().size(); ++i) {
    if (random.uniform() < share) (*bits)[i / 64] |= std::uint64_t{1} << (i % 64);
  }
  return Filter::of_bits(std::move(bits));
}

void bm_filtered(benchmark::State& state, std::size_t percent_out) {
  const Filter filter = keep_share(1 - static_cast<double>(percent_out) / 100);
  Measured measured;
  double exact_qps = 0;
  for (auto _ : state) {
    measured = measure(filter);
    SearchOptions options;
    options.k = kNeighbours;
    options.filter = filter;
    std::vector<Neighbour> out(kNeighbours);
    const auto start = Clock::now();
    for (std::size_t q = 0; q < kExactQueries; ++q) {
      benchmark::DoNotOptimize(exact_search(index(), queries().row_span(q), options, out));
    }
    exact_qps = queries_per_second(kExactQueries, start);
  }
  state.counters["ef"] = static_cast<double>(measured.ef);
  state.counters["recall"] = measured.recall;
  state.counters["qps"] = measured.qps;
  state.counters["exact_qps"] = exact_qps;
  state.counters["unfiltered_qps"] = unfiltered().qps;
}

void register_all() {
  for (const std::size_t percent : {1U, 10U, 50U, 90U, 99U}) {
    const std::string name = "filtered/" + std::to_string(percent) + "/" + data().name;
    benchmark::RegisterBenchmark(name.c_str(), bm_filtered, percent)
        ->Iterations(1)
        ->Unit(benchmark::kSecond);
  }
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  for (int i = 1; i + 1 < argc; ++i) {
    if (std::strcmp(argv[i], "--data") != 0) continue;
    halo::bench::folder() = argv[i + 1];
    for (int j = i; j + 2 < argc; ++j) argv[j] = argv[j + 2];
    argc -= 2;
    break;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  halo::bench::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
