// The commands as the command line offers them. Thread-safety: a free function.
#pragma once

#include "halo/integration/cli/session.h"

namespace CLI {  // NOLINT(readability-identifier-naming): CLI11's own
class App;
}

namespace halo::cli {

/// Adds every command and its options to `app`. Parsing then fills `common` with --threads and its
/// like, and `chosen` with the command; all three must outlive the parsing.
void register_commands(CLI::App& app, CommonOptions& common, Command& chosen);

}  // namespace halo::cli
