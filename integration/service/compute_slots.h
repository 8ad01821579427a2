// How many requests compute at once, and how many may wait for their turn: connections are cheap
// threads, cores are not.
//
// Thread-safety: everything may be called from any number of threads. First come, first served.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <list>
#include <mutex>

namespace halo::service {

class ComputeSlots {
 public:
  enum class Grant { kGranted, kQueueFull, kTooLate };

  ComputeSlots(std::size_t slots, std::size_t queue) : free_(slots), queue_(queue) {}

  /// Waits for a slot until `deadline`; release() gives it back.
  Grant acquire(std::chrono::steady_clock::time_point deadline) {
    std::unique_lock<std::mutex> lock(mutex_);
    if (free_ > 0) {  // then nobody waits
      --free_;
      return Grant::kGranted;
    }
    if (waiters_.size() >= queue_) return Grant::kQueueFull;
    Waiter waiter;
    const auto place = waiters_.insert(waiters_.end(), &waiter);
    if (waiter.turn.wait_until(lock, deadline, [&] { return waiter.granted; })) {
      return Grant::kGranted;
    }
    // cppcheck-suppress danglingLifetime  // it leaves the list before it ends
    waiters_.erase(place);
    return Grant::kTooLate;
  }
  void release() {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (waiters_.empty()) {
      ++free_;
      return;
    }
    Waiter& first = *waiters_.front();
    waiters_.pop_front();
    first.granted = true;
    first.turn.notify_one();
  }
  std::size_t waiting() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return waiters_.size();
  }

 private:
  struct Waiter {
    std::condition_variable turn;
    bool granted = false;
  };
  mutable std::mutex mutex_;
  std::size_t free_, queue_;
  std::list<Waiter*> waiters_;
};

}  // namespace halo::service
