#include "halo/core/executor.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/error.h"

#ifndef HALO_EXECUTOR_STD_THREAD
#define HALO_EXECUTOR_STD_THREAD 0
#endif

#if !HALO_EXECUTOR_STD_THREAD
#include <sched.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#endif

namespace halo {
namespace {

constexpr std::size_t kMaxThreads = 1024;

std::size_t resolve_threads(std::size_t threads) {
  if (threads > kMaxThreads) {
    throw Error(ErrorCode::kInvalidArgument, "threads: " + std::to_string(threads) +
                                                 " is more than " + std::to_string(kMaxThreads));
  }
  if (threads != 0) return threads;
#if !HALO_EXECUTOR_STD_THREAD
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) {
    return static_cast<std::size_t>(std::max(1, CPU_COUNT(&set)));
  }
#endif
  return std::max(1U, std::thread::hardware_concurrency());
}

using WorkerBody = std::function<void(std::size_t, std::size_t, std::size_t)>;

struct Chunks {
  std::size_t n, grain;
  std::size_t count() const { return (n + grain - 1) / grain; }
  void run(std::size_t chunk, std::size_t worker, const WorkerBody& body) const {
    body(worker, chunk * grain, std::min(n, (chunk + 1) * grain));
  }
};

}  // namespace

#if HALO_EXECUTOR_STD_THREAD

// ThreadSanitizer builds: the same contract on plain threads, which the sanitizer understands.
struct Executor::Impl {
  explicit Impl(std::size_t t) : threads(t) {}
  std::size_t threads;

  void run(const Chunks& chunks, const WorkerBody& body) const {
    std::atomic<std::size_t> next{0};
    std::mutex mutex;
    std::exception_ptr error;
    const auto work = [&](std::size_t worker) {
      for (std::size_t c = next++; c < chunks.count(); c = next++) {
        try {
          chunks.run(c, worker, body);
        } catch (...) {
          const std::lock_guard<std::mutex> lock(mutex);
          if (!error) error = std::current_exception();
          next = chunks.count();
        }
      }
    };
    std::vector<std::jthread> helpers;
    for (std::size_t t = 1; t < std::min(threads, chunks.count()); ++t)
      helpers.emplace_back(work, t);
    work(0);
    helpers.clear();
    if (error) std::rethrow_exception(error);
  }
};

#else

struct Executor::Impl {
  explicit Impl(std::size_t t) : threads(t), arena(static_cast<int>(t)) {}
  std::size_t threads;
  tbb::task_arena arena;

  void run(const Chunks& chunks, const WorkerBody& body) {
    arena.execute([&] {
      tbb::parallel_for(
          tbb::blocked_range<std::size_t>(0, chunks.count(), 1),
          [&](const tbb::blocked_range<std::size_t>& range) {
            const auto worker =
                static_cast<std::size_t>(tbb::this_task_arena::current_thread_index());
            for (std::size_t c = range.begin(); c != range.end(); ++c) chunks.run(c, worker, body);
          },
          tbb::simple_partitioner());
    });
  }
};

#endif

Executor::Executor(std::size_t threads) : impl_(std::make_unique<Impl>(resolve_threads(threads))) {}
Executor::~Executor() = default;

std::size_t Executor::threads() const { return impl_->threads; }

void Executor::parallel_for_workers(std::size_t n, std::size_t grain,
                                    const WorkerBody& body) const {
  if (n == 0) return;
  const Chunks chunks{n, std::max<std::size_t>(grain, 1)};
  if (impl_->threads == 1 || chunks.count() == 1) {
    for (std::size_t c = 0; c < chunks.count(); ++c) chunks.run(c, 0, body);
    return;
  }
  impl_->run(chunks, body);
}

void Executor::parallel_for(std::size_t n, std::size_t grain,
                            const std::function<void(std::size_t, std::size_t)>& body) const {
  parallel_for_workers(n, grain,
                       [&](std::size_t, std::size_t begin, std::size_t end) { body(begin, end); });
}

}  // namespace halo
