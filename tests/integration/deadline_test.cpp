// Deadlines, cancellation, explanations and observers of Engine::search, by a clock of the test's
// own.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>

#include "halo/gnn/refinement_model.h"
#include "halo/integration/engine.h"
#include "support/test_support.h"

namespace halo {
namespace {

constexpr std::size_t kQueries = 40;

const Matrix& base() {
  static const Matrix matrix = test::clustered_matrix(500, 16, 10, 1.0F, 1);
  return matrix;
}
const Engine& engine() {
  static const Engine refined =
      Engine::build(base(), {}, {.metric = Metric::kCosine}, Executor(2)).refined({}, Executor(2));
  return refined;
}
MatrixView queries() { return base().view().sub_rows(0, kQueries); }
QueryOptions options(RefineMode mode) {
  QueryOptions options;
  options.k = 5;
  options.refine = mode;
  options.candidates = 50;
  return options;
}

// Passes when it is asked for the (n + 1)st time.
class CountingClock {
 public:
  explicit CountingClock(int n) : left_(n) {}
  Deadline deadline() {
    return Deadline(Deadline::Clock::time_point() + std::chrono::seconds(1), [this] {
      const bool passed = left_-- <= 0;
      return Deadline::Clock::time_point() + std::chrono::seconds(passed ? 2 : 0);
    });
  }

 private:
  std::atomic<int> left_;
};

TEST(Deadline, OneThatHasPassedLeavesEverythingOut) {
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    QueryOptions late = options(mode);
    late.deadline = Deadline(Deadline::Clock::now() - std::chrono::seconds(1));
    const auto results = engine().search(queries(), late, Executor(2));
    EXPECT_TRUE(results.partial);
    EXPECT_EQ(results.answers, std::vector<Answer>(kQueries, Answer::kNone));
    EXPECT_EQ(results.found, std::vector<std::size_t>(kQueries, 0));
    EXPECT_EQ(results.search_seconds, 0.0);
    EXPECT_EQ(results.refine_seconds, 0.0);
  }
}

TEST(Deadline, CutsBetweenQueries) {
  CountingClock clock(25);
  QueryOptions late = options(RefineMode::kOff);
  late.deadline = clock.deadline();
  const auto results = engine().search(queries(), late, Executor(1));
  const auto whole = engine().search(queries(), options(RefineMode::kOff), Executor(1));
  EXPECT_TRUE(results.partial);
  for (std::size_t q = 0; q < kQueries; ++q) {
    EXPECT_EQ(results.answers[q], q < 25 ? Answer::kWhole : Answer::kNone);
    EXPECT_EQ(results.found[q], q < 25 ? 5U : 0U);
    EXPECT_EQ(results.ids[q * 5], q < 25 ? whole.ids[q * 5] : -1);
  }
}

TEST(Deadline, CutsBetweenTheStages) {
  CountingClock clock(kQueries + 10);
  QueryOptions late = options(RefineMode::kAuto);
  late.deadline = clock.deadline();
  const auto results = engine().search(queries(), late, Executor(1));
  const auto whole = engine().search(queries(), options(RefineMode::kAuto), Executor(1));
  const auto plain = engine().search(queries(), options(RefineMode::kOff), Executor(1));
  for (std::size_t i = 0; i < kQueries * 5; ++i) {
    const bool refined = i / 5 < 10;
    EXPECT_EQ(results.answers[i / 5], refined ? Answer::kWhole : Answer::kPlain);
    EXPECT_EQ(results.ids[i], refined ? whole.ids[i] : plain.ids[i]);
    EXPECT_EQ(results.scores[i], refined ? whole.scores[i] : -plain.scores[i]);
  }
  EXPECT_TRUE(results.partial);
  EXPECT_FALSE(whole.partial);
}

TEST(Deadline, AStopIsAnError) {
  std::stop_source stop;
  stop.request_stop();
  test::expect_error(ErrorCode::kCancelled, "stopped", [&] {
    engine().search(queries(), options(RefineMode::kOff), Executor(1), {nullptr, stop.get_token()});
  });
}

TEST(Explain, ShowsThePlainOrderBesideTheRefined) {
  QueryOptions wanted = options(RefineMode::kAuto);
  wanted.explain = true;
  const auto results = engine().search(queries(), wanted, Executor(2));
  const auto plain = engine().search(queries(), options(RefineMode::kOff), Executor(1));
  EXPECT_EQ(results.plain_ids, plain.ids);
  for (std::size_t i = 0; i < kQueries * 5; ++i) {
    EXPECT_EQ(results.plain_distances[i], plain.scores[i]);
    const std::size_t rank = results.plain_ranks[i];
    if (rank == 0 || rank > 5) continue;
    EXPECT_EQ(results.plain_ids[i / 5 * 5 + rank - 1], results.ids[i]);
    EXPECT_EQ(results.plain_distances[i / 5 * 5 + rank - 1], results.distances[i]);
  }
}

TEST(Explain, ComputesDistancesOfWhatTheGraphLedTo) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    const Engine refined =
        Engine::build(base(), {}, {.metric = metric}, Executor(2)).refined({}, Executor(2));
    QueryOptions wanted = options(RefineMode::kAuto);
    wanted.candidates = wanted.k = 40;
    wanted.explain = true;
    const auto results = refined.search(base().view().sub_rows(0, 200), wanted, Executor(2));
    QueryOptions all = options(RefineMode::kOff);
    all.k = all.ef = 500;
    const auto every = refined.search(base().view().sub_rows(0, 200), all, Executor(2));
    std::size_t joined = 0;
    for (std::size_t i = 0; i < results.ids.size(); ++i) {
      if (results.plain_ranks[i] != 0 || results.ids[i] < 0) continue;
      ++joined;
      const std::size_t q = i / 40;
      for (std::size_t j = 0; j < 500; ++j) {
        if (every.ids[q * 500 + j] != results.ids[i]) continue;
        EXPECT_NEAR(every.scores[q * 500 + j], results.distances[i],
                    1e-3F * (1 + std::abs(results.distances[i])));
      }
    }
    EXPECT_GT(joined, 0U) << "the test needs some that were no candidates";
  }
}

TEST(Observer, IsToldOfAnswersAndErrors) {
  struct Counter : SearchObserver {
    void searched(const QueryOptions&, const BatchResults& results) noexcept override {
      queries += results.found.size();
    }
    void failed(const QueryOptions&, ErrorCode code) noexcept override { last = code; }
    std::size_t queries = 0;
    ErrorCode last = ErrorCode::kInternal;
  } counter;
  QueryOptions watched = options(RefineMode::kAuto);
  watched.observer = &counter;
  engine().search(queries(), watched, Executor(1));
  EXPECT_EQ(counter.queries, kQueries);
  watched.k = 51;
  EXPECT_THROW(engine().search(queries(), watched, Executor(1)), Error);
  EXPECT_EQ(counter.last, ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace halo
