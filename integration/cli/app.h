// The program `halo`: its commands, what goes wrong and how it is said.
#pragma once

#include <stop_token>

#include "halo/integration/cli/session.h"

namespace halo::cli {

/// Parses the command line and runs the command. Returns the exit code: 0 success, 1 a halo error,
/// 2 wrong usage. An error is one line on `streams.err`: `halo: <code>: <what and where>`.
int run(int argc, const char* const* argv, const Streams& streams, const std::stop_token& stop);

}  // namespace halo::cli
