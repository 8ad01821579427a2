// When work has to be done: what is not begun by then is left out, and said to be.
//
// Thread-safety: a value; passed() may be called from any thread (so must be the clock given to
// it).
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <utility>

namespace halo {

class Deadline {
 public:
  using Clock = std::chrono::steady_clock;
  using Now = std::function<Clock::time_point()>;

  /// None: never passes.
  Deadline() = default;
  /// Passes at `at`, by `now` where it is given (tests), else by the steady clock.
  explicit Deadline(Clock::time_point at, Now now = {}) : at_(at), now_(std::move(now)) {}
  /// Passes after this long from now.
  static Deadline after(std::chrono::nanoseconds time) { return Deadline(Clock::now() + time); }

  bool set() const { return at_.has_value(); }
  bool passed() const { return at_ && (now_ ? now_() : Clock::now()) >= *at_; }

 private:
  std::optional<Clock::time_point> at_;
  Now now_;
};

}  // namespace halo
