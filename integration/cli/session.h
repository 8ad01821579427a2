// What every command is given: where to write, the common options, threads, progress and the stop
// request.
//
// Thread-safety: belongs to the thread that runs the command.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <stop_token>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/integration/cli/progress_bar.h"

namespace halo::cli {

/// Where a run of the program writes.
struct Streams {
  std::ostream& out;
  std::ostream& err;
  bool err_is_terminal = false;
};

/// Options every command has.
struct CommonOptions {
  std::size_t threads = 0;  ///< 0: every core
  std::optional<std::uint64_t> seed;
  bool json = false;
  bool quiet = false;  ///< no progress
};

class Session {
 public:
  Session(const Streams& streams, const CommonOptions& common, std::stop_token stop)
      : streams_(streams),
        common_(common),
        stop_(std::move(stop)),
        executor_(common.threads),
        bar_(streams.err, streams.err_is_terminal) {}

  std::ostream& out() const { return streams_.out; }
  const CommonOptions& common() const { return common_; }
  const Executor& executor() const { return executor_; }
  ProgressBar& bar() { return bar_; }
  /// For every long operation: shows its progress and stops it on Ctrl-C.
  Job job() { return {common_.quiet ? nullptr : &bar_, stop_}; }

  /// The result of the command: `facts` as one JSON object with --json, else what `print` prints.
  void report(const nlohmann::ordered_json& facts,
              const std::function<void(std::ostream&)>& print) {
    if (common_.json) {
      streams_.out << facts.dump() << '\n';
    } else {
      print(streams_.out);
    }
  }

 private:
  Streams streams_;
  CommonOptions common_;
  std::stop_token stop_;
  Executor executor_;
  ProgressBar bar_;
};

/// One command as the command line chose it.
using Command = std::function<void(Session&)>;

}  // namespace halo::cli
