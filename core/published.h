// One value that a writer replaces while any number of readers take it: read-copy-update with
// hazard pointers (Michael, "Hazard pointers: safe memory reclamation for lock-free objects",
// 2004).
//
// Thread-safety: load() may be called from any thread at any time and never waits for publish(),
// not even where the publishing thread is suspended in the midst of it. Calls of publish() and
// reclaim() must exclude each other. A load that begins after a publish returned gets that value or
// a later one. Invariant: a retired cell is freed only when no slot names it.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <utility>

namespace halo {

template <class T>
class Published {
 public:
  /// A value on its way: all memory that publish() needs, so that publish() cannot fail.
  class Cell {
   public:
    explicit Cell(std::shared_ptr<const T> value) : value_(std::move(value)) {}

   private:
    friend class Published;
    std::shared_ptr<const T> value_;
    std::unique_ptr<Cell> next_retired_;
  };

  explicit Published(std::shared_ptr<const T> value)
      : current_(std::make_unique<Cell>(std::move(value)).release()) {}
  /// No other thread may use it any more.
  ~Published() {
    const std::unique_ptr<Cell> last(current_.load());
    while (retired_) retired_ = std::move(retired_->next_retired_);
  }
  Published(const Published&) = delete;
  Published& operator=(const Published&) = delete;

  std::shared_ptr<const T> load() const {
    for (std::size_t i = first_slot();; ++i) {
      std::atomic<Cell*>& slot = slots_[i % kSlots].cell;
      Cell* cell = current_.load();
      Cell* free = nullptr;
      if (!slot.compare_exchange_strong(free, cell)) continue;  // another reader's, for a moment
      // The cell may have been retired, even freed, before the slot named it.
      for (Cell* now = current_.load(); now != cell; now = current_.load()) {
        cell = now;
        slot.store(cell);
      }
      std::shared_ptr<const T> value = cell->value_;
      slot.store(nullptr);
      return value;
    }
  }

  void publish(std::unique_ptr<Cell> cell) noexcept {
    std::unique_ptr<Cell> old(current_.exchange(cell.release()));
    old->next_retired_ = std::move(retired_);
    retired_ = std::move(old);
    reclaim();
  }

  /// Frees what publish() could not, because a reader was about to take it.
  void reclaim() noexcept {
    std::unique_ptr<Cell> kept;
    while (retired_) {
      std::unique_ptr<Cell> cell = std::move(retired_);
      retired_ = std::move(cell->next_retired_);
      if (in_use(cell.get())) {
        cell->next_retired_ = std::move(kept);
        kept = std::move(cell);
      }
    }
    retired_ = std::move(kept);
  }

 private:
  // More than the threads that are likely to be between two lines of load() at once; with more, the
  // others look for a free slot again.
  static constexpr std::size_t kSlots = 64;
  struct alignas(64) Slot {
    std::atomic<Cell*> cell{nullptr};
  };

  // Threads begin at different slots, so that they do not share cache lines.
  static std::size_t first_slot() {
    static std::atomic<std::size_t> threads{0};
    thread_local const std::size_t kMine = threads++;
    return kMine;
  }

  bool in_use(const Cell* cell) const {
    for (const Slot& slot : slots_) {
      if (slot.cell.load() == cell) return true;
    }
    return false;
  }

  std::atomic<Cell*> current_;
  std::unique_ptr<Cell> retired_;
  mutable std::array<Slot, kSlots> slots_;
};

}  // namespace halo
