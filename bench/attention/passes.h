// What the parts of bench_attention share: how one pass is timed and counted, and who registers
// what.
#pragma once

#include <benchmark/benchmark.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <string>

#include "peak_memory.h"

namespace halo::bench {

/// A pass to be timed. It is run once before, which shows the memory it needs.
using Pass = std::function<void()>;

/// Times `pass`; counters: extra_bytes, the most it allocated at one time, counting what it holds
/// between passes (`make` allocates that); gflops and medges from the work of one pass.
inline void measure(benchmark::State& state, double flops, double edges,
                    const std::function<Pass()>& make) {
  reset_peak_memory();
  const Pass pass = make();
  pass();
  const auto extra = static_cast<double>(peak_memory());
  double seconds = 0.0;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    pass();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    seconds += took.count();
  }
  const auto passes = static_cast<double>(state.iterations());
  state.counters["extra_bytes"] = extra;
  state.counters["gflops"] = flops * passes / seconds * 1e-9;
  if (edges > 0) state.counters["medges"] = edges * passes / seconds * 1e-6;
}

inline void add(const std::string& name, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))->Unit(benchmark::kMillisecond);
}

void register_graph();     ///< graph/...
void register_ceilings();  ///< ceiling/...

}  // namespace halo::bench
