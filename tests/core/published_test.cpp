#include "halo/core/published.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

namespace halo {
namespace {

// Says when it dies, and is recognisably broken afterwards.
struct Tracked {
  Tracked(int n, std::atomic<int>& count) : number(n), copy(n), alive(count) { ++alive; }
  ~Tracked() {
    number = -1;
    --alive;
  }
  Tracked(const Tracked&) = delete;
  Tracked& operator=(const Tracked&) = delete;
  int number, copy;
  std::atomic<int>& alive;
};

using Cell = Published<Tracked>::Cell;

TEST(Published, LoadGivesTheLastValueAndOldOnesAreFreed) {
  std::atomic<int> alive{0};
  {
    Published<Tracked> published(std::make_shared<const Tracked>(0, alive));
    const auto first = published.load();
    for (int i = 1; i <= 100; ++i) {
      published.publish(std::make_unique<Cell>(std::make_shared<const Tracked>(i, alive)));
      EXPECT_EQ(published.load()->number, i);
      EXPECT_EQ(alive, 2) << "the first, which is held, and the current one";
    }
    EXPECT_EQ(first->number, 0);
  }
  EXPECT_EQ(alive, 0);
}

TEST(Published, NothingIsAValueToo) {
  Published<int> published(nullptr);
  EXPECT_EQ(published.load(), nullptr);
  published.publish(std::make_unique<Published<int>::Cell>(std::make_shared<const int>(7)));
  EXPECT_EQ(*published.load(), 7);
}

// Readers see whole values that never go back, and never miss one that was published before.
TEST(Published, ReadersNeverSeeAFreedOrAnOlderValue) {
  constexpr int kValues = 20000;
  std::atomic<int> alive{0}, last{0}, wrong{0};
  {
    Published<Tracked> published(std::make_shared<const Tracked>(0, alive));
    std::vector<std::thread> readers;
    for (int t = 0; t < 4; ++t) {
      readers.emplace_back([&] {
        std::shared_ptr<const Tracked> kept;
        for (int seen = 0; seen < kValues;) {
          const int before = last;
          const auto value = published.load();
          if (value->number != value->copy || value->number < seen || value->number < before) {
            ++wrong;
          }
          seen = value->number;
          if (seen % 64 == 0) kept = value;
        }
      });
    }
    for (int i = 1; i <= kValues; ++i) {
      published.publish(std::make_unique<Cell>(std::make_shared<const Tracked>(i, alive)));
      last = i;
    }
    for (auto& reader : readers) reader.join();
    published.reclaim();
    EXPECT_EQ(alive, 1);
  }
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(alive, 0);
}

}  // namespace
}  // namespace halo
