#include "halo/integration/cli/app.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <new>
#include <string>

#include "halo/core/error.h"
#include "halo/core/version.h"
#include "halo/integration/cli/register_commands.h"

namespace halo::cli {
namespace {

constexpr int kSuccess = 0;
constexpr int kHaloError = 1;
constexpr int kWrongUsage = 2;

/// Messages of libraries may hold line breaks; ours are one line each.
std::string one_line(std::string text) {
  std::replace(text.begin(), text.end(), '\n', ' ');
  return text;
}

void say_error(const Streams& streams, std::string_view code, const std::string& what) {
  streams.err << "halo: " << code << ": " << one_line(what) << std::endl;
}

/// What was printed must have arrived: a full disk behind standard output is an error too.
void flush_output(const Streams& streams) {
  errno = 0;
  streams.out.flush();
  if (streams.out.good()) return;
  const bool full = errno == ENOSPC || errno == EDQUOT;
  throw Error(full ? ErrorCode::kNoSpace : ErrorCode::kIo, "cannot write to standard output");
}

int run_command(const Command& command, Session& session, const Streams& streams) {
  const auto failed = [&](ErrorCode code, const std::string& what) {
    session.bar().clear();
    say_error(streams, error_code_name(code), what);
    return kHaloError;
  };
  try {
    command(session);
    flush_output(streams);
    return kSuccess;
  } catch (const Error& error) {
    return failed(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return failed(ErrorCode::kOutOfMemory, "not enough memory");
  } catch (const std::exception& error) {
    return failed(ErrorCode::kInternal, error.what());
  }
}

}  // namespace

int run(int argc, const char* const* argv, const Streams& streams, const std::stop_token& stop) {
  CLI::App app("halo: nearest-neighbour search over HNSW graphs, refined by graph attention",
               "halo");
  app.set_version_flag("--version", HALO_VERSION_STRING);
  app.require_subcommand(1);
  CommonOptions common;
  Command command;
  register_commands(app, common, command);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted, streams.out, streams.err) == 0 ? kSuccess : kWrongUsage;
  } catch (const CLI::ParseError& error) {
    const auto chosen = app.get_subcommands();
    const std::string name = chosen.empty() ? "halo" : "halo " + chosen.front()->get_name();
    std::string what = error.what();
    // CLI11 would only say that a command is missing.
    if (chosen.empty() && argc > 1 && argv[1][0] != '-') {
      what = "\"" + std::string(argv[1]) + "\" is not a command";
    }
    say_error(streams, "usage", what + " (see " + name + " --help)");
    return kWrongUsage;
  }
  try {
    Session session(streams, common, stop);
    return run_command(command, session, streams);
  } catch (const std::exception& error) {  // no threads to be had
    say_error(streams, error_code_name(ErrorCode::kInternal), error.what());
    return kHaloError;
  }
}

}  // namespace halo::cli
