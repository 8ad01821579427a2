// Building, searching and windows of the index room, beside hnswlib alone with the same M,
// ef_construction and threads, in the same run.
//
//   bench_index --benchmark_filter='build/.*threads:2'
#include <benchmark/benchmark.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <thread>

#include "halo/core/executor.h"
#include "halo/index/exact_search.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"
#include "hnswlib_peer.h"
#include "support/data_sets.h"

namespace halo::bench {
namespace {

constexpr std::size_t kM = 16, kEfConstruction = 200, kNeighbours = 10, kQueries = 2000;
using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

const DataSet& data() {
  static const DataSet set = load_data_set(kQueries);
  return set;
}

const Executor& executor(std::size_t threads) {
  static std::map<std::size_t, std::unique_ptr<Executor>> executors;
  auto& slot = executors[threads];
  if (!slot) slot = std::make_unique<Executor>(threads);
  return *slot;
}

// The indexes that the search benchmarks share: the last ones built, or built now.
std::unique_ptr<HnswlibPeer>& peer() {
  static std::unique_ptr<HnswlibPeer> index;
  return index;
}
std::shared_ptr<const GraphSnapshot>& snapshot() {
  static std::shared_ptr<const GraphSnapshot> sealed;
  return sealed;
}

struct HaloTimes {
  double add = 0, seal = 0;
};

HaloTimes build_halo(std::size_t threads) {
  BuildOptions options;
  options.M = kM;
  options.ef_construction = kEfConstruction;
  HaloTimes times;
  auto start = Clock::now();
  VectorIndex index(data().vectors.cols(), options);
  index.add(data().vectors, executor(threads));
  times.add = seconds_since(start);
  start = Clock::now();
  snapshot() = index.seal(executor(threads));
  times.seal = seconds_since(start);
  return times;
}

void build_peer(std::size_t threads) {
  peer() = std::make_unique<HnswlibPeer>(data().vectors, kM, kEfConstruction, threads);
}

void ensure_built() {
  const std::size_t threads = std::max(1U, std::thread::hardware_concurrency());
  if (!peer()) build_peer(threads);
  if (!snapshot()) build_halo(threads);
}

// The row numbers of the true neighbours of every query.
const std::vector<std::set<Id>>& truth() {
  static const std::vector<std::set<Id>> rows = [] {
    SearchOptions options;
    options.k = kNeighbours;
    const SearchResults exact =
        exact_search_batch(*snapshot(), data().queries, options, executor(0));
    std::vector<std::set<Id>> sets(exact.found.size());
    for (std::size_t q = 0; q < sets.size(); ++q) {
      for (const Neighbour& n : exact.of(q)) sets[q].insert(snapshot()->id(n.node));
    }
    return sets;
  }();
  return rows;
}

void report_search(benchmark::State& state, std::size_t hits) {
  const auto queries = static_cast<double>(data().queries.rows());
  state.counters["recall"] = static_cast<double>(hits) / (queries * kNeighbours);
  state.counters["qps"] = benchmark::Counter(queries * static_cast<double>(state.iterations()),
                                             benchmark::Counter::kIsRate);
}

void bm_build_hnswlib(benchmark::State& state, std::size_t threads) {
  data();
  for (auto _ : state) build_peer(threads);
  state.counters["vectors_per_second"] = benchmark::Counter(
      static_cast<double>(data().vectors.rows()), benchmark::Counter::kIsIterationInvariantRate);
}

void bm_build_halo(benchmark::State& state, std::size_t threads) {
  data();
  HaloTimes times;
  for (auto _ : state) times = build_halo(threads);
  state.counters["add_seconds"] = times.add;
  state.counters["seal_seconds"] = times.seal;
  state.counters["seal_share"] = times.seal / (times.add + times.seal);
  state.counters["vectors_per_second"] = benchmark::Counter(
      static_cast<double>(data().vectors.rows()), benchmark::Counter::kIsIterationInvariantRate);
}

void bm_windows(benchmark::State& state, std::size_t threads) {
  ensure_built();
  double entries = 0;
  for (auto _ : state) {
    const CsrMask mask = neighbour_windows(*snapshot(), 32, executor(threads));
    entries = static_cast<double>(mask.entries());
  }
  state.counters["average_window"] = entries / static_cast<double>(snapshot()->size());
}

void bm_search_hnswlib(benchmark::State& state, std::size_t ef, std::size_t threads) {
  ensure_built();
  std::vector<std::uint32_t> rows;
  for (auto _ : state) rows = peer()->search(data().queries, kNeighbours, ef, threads);
  std::size_t hits = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) hits += truth()[i / kNeighbours].count(rows[i]);
  report_search(state, hits);
}

void bm_search_halo(benchmark::State& state, std::size_t ef, std::size_t threads) {
  ensure_built();
  SearchOptions options;
  options.k = kNeighbours;
  options.ef = ef;
  SearchResults results;
  for (auto _ : state) {
    results = search_batch(*snapshot(), data().queries, options, executor(threads));
  }
  std::size_t hits = 0;
  for (std::size_t q = 0; q < results.found.size(); ++q) {
    for (const Neighbour& n : results.of(q)) hits += truth()[q].count(snapshot()->id(n.node));
  }
  report_search(state, hits);
}

void register_all() {
  const std::string set = data().name;
  std::set<std::size_t> thread_counts{1, std::max(1U, std::thread::hardware_concurrency())};
  const auto slow = [](benchmark::internal::Benchmark* b) {
    b->Iterations(1)->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kSecond);
  };
  for (const std::size_t t : thread_counts) {
    const std::string threads = "/threads:" + std::to_string(t);
    slow(benchmark::RegisterBenchmark(("build/hnswlib/" + set + threads).c_str(), bm_build_hnswlib,
                                      t));
    slow(benchmark::RegisterBenchmark(("build/halo/" + set + threads).c_str(), bm_build_halo, t));
  }
  for (const std::size_t t : thread_counts) {
    const std::string threads = "/threads:" + std::to_string(t);
    slow(benchmark::RegisterBenchmark(("windows/halo/" + set + "/window:32" + threads).c_str(),
                                      bm_windows, t));
    for (const std::size_t ef : {16U, 32U, 64U, 128U, 256U}) {
      const std::string name = set + "/ef:" + std::to_string(ef) + threads;
      for (auto* b : {benchmark::RegisterBenchmark(("search/hnswlib/" + name).c_str(),
                                                   bm_search_hnswlib, ef, t),
                      benchmark::RegisterBenchmark(("search/halo_f32/" + name).c_str(),
                                                   bm_search_halo, ef, t)}) {
        b->MeasureProcessCPUTime()->UseRealTime()->Unit(benchmark::kMillisecond);
      }
    }
  }
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  halo::bench::register_all();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
