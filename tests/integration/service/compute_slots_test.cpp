#include "halo/integration/service/compute_slots.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace halo::service {
namespace {

using Clock = std::chrono::steady_clock;
using Grant = ComputeSlots::Grant;

TEST(ComputeSlots, RefusesWhenTheQueueIsFull) {
  ComputeSlots slots(1, 0);
  EXPECT_EQ(slots.acquire(Clock::now()), Grant::kGranted);
  EXPECT_EQ(slots.acquire(Clock::now() + std::chrono::hours(1)), Grant::kQueueFull);
  slots.release();
  EXPECT_EQ(slots.acquire(Clock::now()), Grant::kGranted);
}

TEST(ComputeSlots, GivesUpAtTheDeadline) {
  ComputeSlots slots(1, 4);
  ASSERT_EQ(slots.acquire(Clock::now()), Grant::kGranted);
  EXPECT_EQ(slots.acquire(Clock::now() - std::chrono::seconds(1)), Grant::kTooLate);
  EXPECT_EQ(slots.waiting(), 0U);
}

TEST(ComputeSlots, NeverMoreAtOnceThanSlots) {
  ComputeSlots slots(3, 100);
  std::atomic<int> running{0}, most{0}, served{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 12; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 200; ++i) {
        if (slots.acquire(Clock::now() + std::chrono::hours(1)) != Grant::kGranted) continue;
        const int now = ++running;
        int seen = most;
        while (now > seen && !most.compare_exchange_weak(seen, now)) {
        }
        ++served;
        --running;
        slots.release();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, 12 * 200);
  EXPECT_LE(most, 3);
}

}  // namespace
}  // namespace halo::service
