// Where long work is, for people: a bar on a terminal, a line now and then elsewhere.
//
// Thread-safety: advance() from any number of threads; it only counts, and the one thread that
// finds a new drawing due draws it. start() and finish() belong to the thread that does the work.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <ostream>
#include <string>
#include <string_view>

#include "halo/core/progress.h"

namespace halo::cli {

class ProgressBar : public ProgressSink {
 public:
  using Clock = std::chrono::steady_clock;

  /// Draws on `out`, which must outlive the bar: over itself where `terminal`, otherwise one line
  /// at a stage's end and every five seconds before. `now` is replaced by tests.
  ProgressBar(std::ostream& out, bool terminal,
              std::function<Clock::time_point()> now = Clock::now);

  void start(std::string_view stage, std::uint64_t total) override;
  void advance(std::uint64_t items) override;
  void finish() override;

  /// Ends a bar that an exception left on the terminal, so that a message can follow.
  void clear();

 private:
  void draw(Clock::time_point now, bool last);
  std::string describe(Clock::time_point now, bool last) const;

  std::ostream& out_;
  const bool terminal_;
  const std::function<Clock::time_point()> now_;
  std::string stage_;
  std::uint64_t total_ = 0;
  Clock::time_point started_;
  std::atomic<std::uint64_t> done_{0};
  std::atomic<Clock::rep> next_drawing_{0};
  std::mutex drawing_;
  bool on_screen_ = false;  // guarded by drawing_
};

}  // namespace halo::cli
