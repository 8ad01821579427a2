#include <CLI/CLI.hpp>

#include "halo/integration/cli/commands.h"

namespace halo::cli {

void add_common_options(CLI::App& command, CommonOptions& common) {
  command.add_option("--threads", common.threads, "Threads to run on; 0: every core")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  command.add_option("--seed", common.seed, "Seed of everything random");
  command.add_flag("--json", common.json, "Print the result as one JSON object");
  command.add_flag("--quiet", common.quiet, "Show no progress");
}

}  // namespace halo::cli
