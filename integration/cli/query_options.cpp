#include "halo/integration/cli/query_options.h"

#include <algorithm>

#include "halo/integration/cli/text.h"

namespace halo::cli {

RefineMode parse_refine_mode(std::string_view name) {
  if (name == "off") return RefineMode::kOff;
  if (name == "auto") return RefineMode::kAuto;
  if (name == "trained") return RefineMode::kTrained;
  throw Error(ErrorCode::kInvalidArgument,
              "refinement is off, auto or trained, not \"" + std::string(name) + "\"");
}

std::string_view refine_mode_name(RefineMode mode) noexcept {
  switch (mode) {
    case RefineMode::kOff:
      return "off";
    case RefineMode::kAuto:
      return "auto";
    case RefineMode::kTrained:
      return "trained";
  }
  return "unknown";
}

double queries_per_second(const BatchResults& results) {
  return static_cast<double>(results.found.size()) / std::max(results.wall_seconds, 1e-9);
}

nlohmann::ordered_json latency_facts(const LatencySummary& latency) {
  return {{"p50", latency.p50}, {"p95", latency.p95}, {"p99", latency.p99}, {"mean", latency.mean}};
}

std::string describe(const LatencySummary& latency) {
  return "p50 " + duration(latency.p50) + ", p95 " + duration(latency.p95) + ", p99 " +
         duration(latency.p99);
}

BatchResults search_or_stop(const Engine& engine, const MatrixView& queries,
                            const QueryOptions& options, const Executor& executor, const Job& job) {
  const Stage stage(job, "searching", queries.rows);
  BatchResults results = engine.search(queries, options, executor, job);
  job.check();
  return results;
}

}  // namespace halo::cli
