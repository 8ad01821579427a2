#include "halo/index/detail/idle_thread.h"

#include <pthread.h>
#include <sched.h>

#include <exception>
#include <system_error>
#include <thread>

namespace halo::detail {
namespace {

void lower_priority() {
#if defined(SCHED_IDLE)
  const sched_param none{};
  pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);  // refused: it stays an ordinary thread
#endif
}

}  // namespace

void run_when_idle(const std::function<void()>& work) {
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
    });
  } catch (const std::system_error&) {
    work();
    return;
  }
  thread.join();
  if (error) std::rethrow_exception(error);
}

}  // namespace halo::detail
