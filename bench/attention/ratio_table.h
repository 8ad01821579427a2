// The console's output, and behind it a table of every mechanism's time against naive Eigen's.
#pragma once

#include <benchmark/benchmark.h>

#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace halo::bench {

class RatioTable : public benchmark::ConsoleReporter {
 public:
  void ReportRuns(const std::vector<Run>& runs) override;
  /// Rows that were measured in this run only.
  void print(std::ostream& out) const;

 private:
  struct Result {
    double milliseconds, extra_bytes, gflops, medges;
  };
  const Result* find(const std::string& name) const;

  std::map<std::string, Result> results_;
};

}  // namespace halo::bench
