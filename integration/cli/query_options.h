// From options of the command line to those of the engine, and latencies as every command shows
// them. Thread-safety: free functions.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "halo/integration/engine.h"
#include "halo/integration/eval/metrics.h"

namespace halo::cli {

/// "off", "auto" or "trained"; throws kInvalidArgument for anything else.
RefineMode parse_refine_mode(std::string_view name);
std::string_view refine_mode_name(RefineMode mode) noexcept;

double queries_per_second(const BatchResults& results);
nlohmann::ordered_json latency_facts(const LatencySummary& latency);
/// "p50 0.12 ms, p95 0.20 ms, p99 0.31 ms"
std::string describe(const LatencySummary& latency);

/// Searches with progress and, when a stop was requested meanwhile, throws kCancelled.
BatchResults search_or_stop(const Engine& engine, const MatrixView& queries,
                            const QueryOptions& options, const Executor& executor, const Job& job);

}  // namespace halo::cli
