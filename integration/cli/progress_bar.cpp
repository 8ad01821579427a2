#include "halo/integration/cli/progress_bar.h"

#include <algorithm>

#include "halo/integration/cli/text.h"

namespace halo::cli {
namespace {

constexpr std::size_t kBarWidth = 24;
constexpr auto kTerminalInterval = std::chrono::milliseconds(100);
constexpr auto kPlainInterval = std::chrono::seconds(5);
constexpr std::string_view kClearLine = "\r\x1b[K";

std::string bar(double share) {
  const auto filled = static_cast<std::size_t>(share * static_cast<double>(kBarWidth));
  return "[" + std::string(filled, '#') + std::string(kBarWidth - filled, '-') + "]";
}

}  // namespace

ProgressBar::ProgressBar(std::ostream& out, bool terminal, std::function<Clock::time_point()> now)
    : out_(out), terminal_(terminal), now_(std::move(now)) {}

void ProgressBar::start(std::string_view stage, std::uint64_t total) {
  clear();
  const std::lock_guard lock(drawing_);
  stage_ = stage;
  total_ = total;
  started_ = now_();
  done_ = 0;
  // A plain stage announces itself when it ends; a short one should not speak twice.
  const auto first =
      started_ + (terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval));
  next_drawing_ = first.time_since_epoch().count();
}

void ProgressBar::advance(std::uint64_t items) {
  done_.fetch_add(items, std::memory_order_relaxed);
  const Clock::time_point now = now_();
  if (now.time_since_epoch().count() < next_drawing_.load(std::memory_order_relaxed)) return;
  const std::unique_lock lock(drawing_, std::try_to_lock);
  if (lock.owns_lock()) draw(now, false);
}

void ProgressBar::finish() {
  if (done_ == 0 && total_ > 0) return clear();  // refused before it began
  const std::lock_guard lock(drawing_);
  draw(now_(), true);
}

void ProgressBar::clear() {
  const std::lock_guard lock(drawing_);
  if (on_screen_) out_ << kClearLine << std::flush;
  on_screen_ = false;
}

void ProgressBar::draw(Clock::time_point now, bool last) {
  const auto interval =
      terminal_ ? Clock::duration(kTerminalInterval) : Clock::duration(kPlainInterval);
  next_drawing_ = (now + interval).time_since_epoch().count();
  const std::string line = describe(now, last);
  if (terminal_) {
    out_ << kClearLine << line << (last ? "\n" : "") << std::flush;
  } else {
    out_ << line << '\n' << std::flush;
  }
  on_screen_ = terminal_ && !last;
}

std::string ProgressBar::describe(Clock::time_point now, bool last) const {
  const double seconds = std::chrono::duration<double>(now - started_).count();
  const std::uint64_t done = done_.load(std::memory_order_relaxed);
  const double rate = seconds > 0 ? static_cast<double>(done) / seconds : 0;
  const double share =
      total_ == 0 ? 0 : std::min(1.0, static_cast<double>(done) / static_cast<double>(total_));
  std::string line = stage_ + "  ";
  if (terminal_ && !last && total_ > 0) line += bar(share) + " ";
  line += with_commas(done);
  // A stage ends early where the work was stopped: "of" then still tells how far it came.
  if (total_ > 0 && !(last && done == total_)) {
    line += " of " + with_commas(total_) + " (" + fixed(100 * share, 0) + "%)";
  }
  if (last)
    return line + " in " + duration(seconds) +
           (rate >= 1 ? ", " + with_commas(static_cast<std::uint64_t>(rate)) + "/s" : "");
  line +=
      ", " + (rate >= 1 ? with_commas(static_cast<std::uint64_t>(rate)) : fixed(rate, 2)) + "/s";
  if (done > 0 && total_ > done) {
    line += ", " + duration(static_cast<double>(total_ - done) / rate) + " left";
  }
  return line;
}

}  // namespace halo::cli
