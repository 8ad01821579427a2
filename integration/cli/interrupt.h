// Ctrl-C and SIGTERM as a stop request that the work in progress notices.
#pragma once

#include <atomic>
#include <csignal>
#include <stop_token>
#include <thread>

namespace halo::cli {

/// While one lives, the first SIGINT or SIGTERM requests a stop and the second ends the process at
/// once (every file is written aside and renamed, so even that leaves nothing half-written). Make
/// it before any other thread starts: those inherit the blocked signals, and one thread waits for
/// them.
class Interrupt {
 public:
  Interrupt();
  ~Interrupt();
  Interrupt(const Interrupt&) = delete;
  Interrupt& operator=(const Interrupt&) = delete;

  std::stop_token token() const { return stop_.get_token(); }
  /// The signal that arrived, or 0.
  int signal() const { return signal_; }

 private:
  void watch(const std::stop_token& ended);

  sigset_t signals_{};
  sigset_t previous_{};
  std::stop_source stop_;
  std::atomic<int> signal_{0};
  std::jthread watcher_;  // last: it uses the others
};

}  // namespace halo::cli
