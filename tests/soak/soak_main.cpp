// halo_soak [minutes]: churn on a live index for that long, a checkpoint each 20 seconds. Prints
// what it saw; exits with 1 where a promise of docs/reliability.md was broken.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "soak/churn.h"
#include "support/test_support.h"

namespace {

using halo::test::Checkpoint;

void print(const Checkpoint& at) {
  std::printf(
      "%7.0f s  %9llu adds %8llu updates %8llu removes %9llu searches %5llu seals %5llu "
      "saves  %7.2f MB in use  %7.2f MB resident\n",
      at.seconds, static_cast<unsigned long long>(at.adds),
      static_cast<unsigned long long>(at.updates), static_cast<unsigned long long>(at.removes),
      static_cast<unsigned long long>(at.searches), static_cast<unsigned long long>(at.seals),
      static_cast<unsigned long long>(at.saves), static_cast<double>(at.in_use) / 1e6,
      static_cast<double>(at.resident) / 1e6);
  std::fflush(stdout);
}

bool check(const char* what, double value, const char* relation, double bound, bool holds) {
  std::printf("%-58s %10.4f %s %g: %s\n", what, value, relation, bound, holds ? "holds" : "BROKEN");
  return holds;
}
bool at_most(const char* what, double value, double bound) {
  return check(what, value, "<=", bound, value <= bound);
}

}  // namespace

int main(int argc, char** argv) {
  const double minutes = argc > 1 ? std::strtod(argv[1], nullptr) : 10.0;
  if (!(minutes > 0) || argc > 2) {
    std::fprintf(stderr, "usage: halo_soak [minutes]\n");
    return 2;
  }
  const halo::test::TemporaryFolder folder;
  halo::test::ChurnOptions options;
  options.folder = folder.path();
  constexpr double kInterval = 20;
  options.live = 8000;
  options.checkpoints =
      std::max<std::size_t>(4, static_cast<std::size_t>(minutes * 60 / kInterval));
  options.interval = std::chrono::milliseconds(
      static_cast<long long>(minutes * 60e3 / static_cast<double>(options.checkpoints)));
  std::printf("%zu threads, %zu live vectors of %zu floats\n", options.threads, options.live,
              options.dim);
  const auto report = halo::test::churn(options, print);

  std::printf("%zu of %zu checkpoints are steady: every vector was replaced %g times before\n",
              report.checkpoints.size(), options.checkpoints, options.turnovers);
  bool good = at_most("wrong answers", static_cast<double>(report.wrong), 0);
  if (!report.first_wrong.empty()) std::printf("  first: %s\n", report.first_wrong.c_str());
  good &= at_most("searches for own vectors that missed them, share",
                  static_cast<double>(report.own_missed) /
                      static_cast<double>(std::max<std::uint64_t>(1, report.own_searches)),
                  0.005);
  good &= at_most("unreachable live vectors", static_cast<double>(report.unreachable), 0);
  good &=
      at_most("live vectors that a search for them misses, share",
              static_cast<double>(report.live_missed) / static_cast<double>(options.live), 0.005);
  good &= at_most("background seals that failed", static_cast<double>(report.failed_seals), 0);
  good &= at_most("memory drift between steady checkpoints", report.memory_drift(), 0.02);
  good &= at_most("recall@10 of a rebuild, less that before the last seal",
                  report.recall_rebuilt - report.recall_unsealed, 0.02);
  good &= at_most("recall@10 of a rebuild, less that of the churned index",
                  report.recall_rebuilt - report.recall_sealed, 0.02);
  std::printf("recall@10: %.4f unsealed, %.4f sealed, %.4f rebuilt; longest write %.0f ms\n",
              report.recall_unsealed, report.recall_sealed, report.recall_rebuilt,
              report.longest_write_ms);
  return good ? 0 : 1;
}
