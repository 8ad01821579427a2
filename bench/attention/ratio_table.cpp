#include "ratio_table.h"

#include <cstdio>

namespace halo::bench {
namespace {

std::string text(const char* format, double x) {
  char buffer[64];
  std::snprintf(buffer, sizeof(buffer), format, x);
  return buffer;
}

double counter(const benchmark::BenchmarkReporter::Run& run, const char* name) {
  const auto found = run.counters.find(name);
  return found == run.counters.end() ? 0.0 : found->second.value;
}

}  // namespace

void RatioTable::ReportRuns(const std::vector<Run>& runs) {
  for (const Run& run : runs) {
    if (run.error_occurred || run.run_type != Run::RT_Iteration) continue;
    results_[run.benchmark_name()] = {run.GetAdjustedRealTime(), counter(run, "extra_bytes"),
                                      counter(run, "gflops"), counter(run, "medges")};
  }
  ConsoleReporter::ReportRuns(runs);
}

const RatioTable::Result* RatioTable::find(const std::string& name) const {
  const auto found = results_.find(name);
  return found == results_.end() ? nullptr : &found->second;
}

void RatioTable::print(std::ostream& out) const {
  out << "\n| n | mechanism | ms | naive / it | two threads | extra MB | GFLOP/s |\n"
      << "|---|---|---|---|---|---|---|\n";
  for (std::size_t n = 512; n <= 65536; n *= 2) {
    const std::string at = "/n:" + std::to_string(n) + "/threads:";
    const Result* naive = find("attention/naive_eigen/f32" + at + "1");
    for (const char* mechanism :
         {"naive_eigen/f32", "blas/f32", "standard/f32", "standard/bf16", "flash/f32", "flash/bf16",
          "linear/f32", "linear/bf16", "local_global/f32", "local_global/bf16"}) {
      const std::string name = "attention/" + std::string(mechanism) + at;
      const Result *one = find(name + "1"), *two = find(name + "2");
      if (one == nullptr) continue;
      out << "| " << n << " | " << mechanism << " | " << text("%.1f", one->milliseconds) << " | "
          << (naive != nullptr ? text("%.2f", naive->milliseconds / one->milliseconds) : "")
          << " | " << (two != nullptr ? text("%.2f", one->milliseconds / two->milliseconds) : "")
          << " | " << text("%.1f", one->extra_bytes / 1048576.0) << " | "
          << text("%.0f", one->gflops) << " |\n";
    }
  }
  out << "\n| graph | ms | Medge/s | gather/scatter / it | two threads |\n|---|---|---|---|---|\n";
  for (const char* what : {"/f32/forward", "/f32/backward", "/bf16/forward", "/bf16/backward"}) {
    const Result* naive = find("graph/gather_scatter" + std::string(what) + "/threads:1");
    const std::string name = "graph/fused" + std::string(what) + "/threads:";
    const Result *one = find(name + "1"), *two = find(name + "2");
    if (one == nullptr) continue;
    out << "| fused" << what << " | " << text("%.1f", one->milliseconds) << " | "
        << text("%.1f", one->medges) << " | "
        << (naive != nullptr ? text("%.1f", naive->milliseconds / one->milliseconds) : "") << " | "
        << (two != nullptr ? text("%.2f", one->milliseconds / two->milliseconds) : "") << " |\n";
  }
  out << "\nCeilings of one core:";
  for (const auto& [name, result] : results_) {
    if (!name.starts_with("ceiling/")) continue;
    out << " " << name.substr(8) << " "
        << (result.medges > 0 ? text("%.1f Medge/s", result.medges)
                              : text("%.0f GFLOP/s", result.gflops));
  }
  out << "\n";
}

}  // namespace halo::bench
