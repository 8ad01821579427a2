#include "halo/integration/cli/interrupt.h"

#include <unistd.h>

#include <ctime>

namespace halo::cli {
namespace {

constexpr timespec kPollInterval{0, 50'000'000};

}  // namespace

Interrupt::Interrupt() {
  sigemptyset(&signals_);
  sigaddset(&signals_, SIGINT);
  sigaddset(&signals_, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals_, &previous_);
  watcher_ = std::jthread([this](const std::stop_token& ended) { watch(ended); });
}

Interrupt::~Interrupt() {
  watcher_.request_stop();
  pthread_kill(watcher_.native_handle(), SIGINT);  // wakes it at once: it need not end its wait
  watcher_.join();
  pthread_sigmask(SIG_SETMASK, &previous_, nullptr);
}

void Interrupt::watch(const std::stop_token& ended) {
  // Waiting for a blocked signal, unlike handling one, may do anything afterwards.
  while (!ended.stop_requested()) {
    const int signal = sigtimedwait(&signals_, nullptr, &kPollInterval);
    if (signal <= 0 || ended.stop_requested()) continue;
    if (signal_ != 0) _exit(128 + signal);
    signal_ = signal;
    stop_.request_stop();
  }
}

}  // namespace halo::cli
