#include "halo/index/detail/idle_thread.h"

#include <pthread.h>
#include <sched.h>

#include <exception>
#include <mutex>
#include <optional>
#include <system_error>
#include <thread>

namespace halo::detail {

struct Hurry::State {
  std::mutex mutex;
  bool hurried = false;
  std::optional<pthread_t> idle;  // the thread at low priority, while it works
};

Hurry::Hurry() : state_(std::make_shared<State>()) {}

void Hurry::up() const {
  const std::unique_lock<std::mutex> lock(state_->mutex);
  state_->hurried = true;
#if defined(SCHED_IDLE)
  const sched_param none{};
  if (state_->idle) pthread_setschedparam(*state_->idle, SCHED_OTHER, &none);
  state_->idle.reset();
#endif
}

void run_when_idle(const std::function<void()>& work, const Hurry& hurry) {
  const auto lower_priority = [&] {
#if defined(SCHED_IDLE)
    const std::unique_lock<std::mutex> lock(hurry.state_->mutex);
    if (hurry.state_->hurried) return;
    const sched_param none{};
    // Refused: it stays an ordinary thread.
    if (pthread_setschedparam(pthread_self(), SCHED_IDLE, &none) == 0) {
      hurry.state_->idle = pthread_self();
    }
#endif
  };
  const auto leave = [&] {
    const std::unique_lock<std::mutex> lock(hurry.state_->mutex);
    hurry.state_->idle.reset();
  };
  std::exception_ptr error;
  std::thread thread;
  try {
    thread = std::thread([&] {
      lower_priority();
      try {
        work();
      } catch (...) {
        error = std::current_exception();
      }
      leave();
    });
  } catch (const std::system_error&) {
    work();
    return;
  }
  thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace halo::detail
