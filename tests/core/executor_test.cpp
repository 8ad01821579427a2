#include "halo/core/executor.h"

#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "support/test_support.h"

namespace halo {
namespace {

TEST(Executor, CoversEveryItemOnceAtAnyShape) {
  for (const std::size_t threads : {1U, 2U, 4U}) {
    const Executor executor(threads);
    EXPECT_EQ(executor.threads(), threads);
    for (const std::size_t n : {0U, 1U, 7U, 64U, 1000U}) {
      for (const std::size_t grain : {0U, 1U, 3U, 64U, 5000U}) {
        std::vector<std::atomic<int>> seen(n);
        executor.parallel_for(n, grain, [&](std::size_t begin, std::size_t end) {
          for (std::size_t i = begin; i < end; ++i) ++seen[i];
        });
        for (const auto& count : seen) EXPECT_EQ(count, 1);
      }
    }
  }
}

TEST(Executor, ChunksDoNotDependOnTheThreads) {
  std::vector<std::set<std::pair<std::size_t, std::size_t>>> chunks;
  for (const std::size_t threads : {1U, 3U}) {
    const Executor executor(threads);
    std::mutex mutex;
    auto& seen = chunks.emplace_back();
    executor.parallel_for(103, 10, [&](std::size_t begin, std::size_t end) {
      const std::lock_guard<std::mutex> lock(mutex);
      seen.emplace(begin, end);
    });
  }
  EXPECT_EQ(chunks[0], chunks[1]);
  EXPECT_EQ(chunks[0].size(), 11U);
}

TEST(Executor, WorkersStayBelowThreadsAndNeverShareANumber) {
  const Executor executor(3);
  std::vector<std::atomic<int>> busy(3);
  executor.parallel_for_workers(500, 1, [&](std::size_t worker, std::size_t, std::size_t) {
    ASSERT_LT(worker, 3U);
    EXPECT_EQ(++busy[worker], 1);
    std::this_thread::yield();
    --busy[worker];
  });
}

TEST(Executor, RethrowsTheBodysError) {
  for (const std::size_t threads : {1U, 2U}) {
    const Executor executor(threads);
    test::expect_error(ErrorCode::kCancelled, "enough", [&] {
      executor.parallel_for(1000, 1, [](std::size_t begin, std::size_t) {
        if (begin == 17) throw Error(ErrorCode::kCancelled, "enough");
      });
    });
  }
}

TEST(Executor, ServesSeveralCallersAndNestedLoops) {
  const Executor executor(2);
  std::atomic<std::size_t> total{0};
  std::vector<std::jthread> callers;
  callers.reserve(4);
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      executor.parallel_for(20, 1, [&](std::size_t, std::size_t) {
        executor.parallel_for(10, 2,
                              [&](std::size_t begin, std::size_t end) { total += end - begin; });
      });
    });
  }
  callers.clear();
  EXPECT_EQ(total, 4U * 20U * 10U);
}

TEST(Executor, ChoosesTheCoresAndRefusesAbsurdNumbers) {
  EXPECT_GE(Executor().threads(), 1U);
  test::expect_error(ErrorCode::kInvalidArgument, "threads", [] { Executor executor(100000); });
}

}  // namespace
}  // namespace halo
