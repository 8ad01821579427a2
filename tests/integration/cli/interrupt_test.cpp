#include "halo/integration/cli/interrupt.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

namespace halo::cli {
namespace {

TEST(InterruptTest, ASignalBecomesAStopRequest) {
  for (const int signal : {SIGINT, SIGTERM}) {
    const Interrupt interrupt;
    EXPECT_FALSE(interrupt.token().stop_requested());
    EXPECT_EQ(interrupt.signal(), 0);
    std::mutex mutex;
    std::condition_variable changed;
    bool stopped = false;
    const std::stop_callback wake(interrupt.token(), [&] {
      const std::lock_guard lock(mutex);
      stopped = true;
      changed.notify_one();
    });
    kill(getpid(), signal);
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return stopped; });
    EXPECT_EQ(interrupt.signal(), signal);
  }
}

TEST(InterruptTest, TheSecondSignalEndsTheProcessAtOnce) {
  const auto twice = [] {
    const Interrupt interrupt;
    kill(getpid(), SIGINT);
    while (!interrupt.token().stop_requested()) usleep(1000);
    kill(getpid(), SIGINT);
    for (;;) usleep(1000);
  };
  testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_EXIT(twice(), testing::ExitedWithCode(130), "");
}

TEST(InterruptTest, SignalsAreAsBeforeAfterwards) {
  sigset_t before;
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  { const Interrupt interrupt; }
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&before, SIGINT), sigismember(&after, SIGINT));
  EXPECT_EQ(sigismember(&after, SIGINT), 0);
}

}  // namespace
}  // namespace halo::cli
