#include "halo/index/live_index.h"

#include <gtest/gtest.h>

#include <atomic>
#include <limits>
#include <mutex>
#include <new>
#include <set>
#include <thread>

#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/live_fixtures.h"
#include "support/failing_allocator.h"

namespace halo {
namespace {

using test::expect_error;
using test::expect_same;
using test::ids_from;
using test::live_options;
using test::LiveModel;

// Some ids of the model, each at most once.
std::vector<Id> some_ids(const LiveModel& model, std::size_t count, Random& random) {
  std::set<Id> chosen;
  for (std::size_t i = 0; i < count && model.size() != 0; ++i) {
    auto at = model.vectors().begin();
    std::advance(at, static_cast<std::ptrdiff_t>(random.below(model.size())));
    chosen.insert(at->first);
  }
  return {chosen.begin(), chosen.end()};
}

TEST(LiveIndex, AnyInterleavingIsThatOfAMap) {
  constexpr std::size_t kDim = 6;
  const Executor executor(2);
  const Matrix queries = test::clustered_matrix(6, kDim, 5, 0.7F, 1);
  for (std::uint64_t seed = 0; seed < (test::kThreadSanitizer ? 3 : 12); ++seed) {
    const Metric metric = test::kMetrics[seed % 3];
    LiveOptions options = live_options(metric);
    options.scanned_tail = seed % 4 == 0 ? 0 : 16;
    LiveIndex index(kDim, options);
    LiveModel model(metric, kDim);
    Random random(seed);
    Id next_id = 0;
    for (int step = 0; step < 60; ++step) {
      const std::size_t count = random.below(30);
      const Matrix vectors = test::clustered_matrix(count, kDim, 5, 0.7F, seed * 1000 + step);
      const auto dice = random.below(10);
      if (dice < 4) {
        std::vector<Id> ids = ids_from(next_id, count);
        next_id += static_cast<Id>(count);
        // Removed ids may come back.
        if (!ids.empty() && next_id > 50 && !model.vectors().contains(7)) ids[0] = 7;
        index.add(vectors, ids);
        model.put(vectors, ids);
      } else if (dice < 6) {
        const std::vector<Id> ids = some_ids(model, count, random);
        index.update(vectors.view().sub_rows(0, ids.size()), ids);
        model.put(vectors, ids);
      } else if (dice < 9) {
        const std::vector<Id> ids = some_ids(model, count, random);
        index.remove(ids);
        model.remove(ids);
      } else {
        const auto sealed = index.seal(executor);
        ASSERT_EQ(sealed == nullptr, model.size() == 0);
        if (sealed) {
          EXPECT_EQ(sealed->size(), model.size());
          EXPECT_EQ(sealed->unreachable_count(), 0U);
        }
        EXPECT_EQ(index.stats().delta, 0U);
        EXPECT_EQ(index.stats().sealed_removed, 0U);
      }
      ASSERT_NO_FATAL_FAILURE(expect_same(index.view(), model, queries)) << seed << " " << step;
    }
    index.remove(some_ids(model, 0, random));
    std::vector<Id> all;
    for (const auto& [id, vector] : model.vectors()) all.push_back(id);
    index.remove(all);
    EXPECT_EQ(index.size(), 0U);
    EXPECT_EQ(index.seal(executor), nullptr);
    EXPECT_TRUE(test::live_search(index.view(), queries.row_span(0), {}).empty());
  }
}

TEST(LiveIndex, AViewStaysAsItWas) {
  const Matrix data = test::clustered_matrix(600, 8, 6, 0.6F, 2);
  const Matrix queries = test::clustered_matrix(10, 8, 6, 0.6F, 3);
  const Executor executor(2);
  LiveIndex index(8, live_options());
  LiveModel model(Metric::kL2, 8);
  index.add(data.view().sub_rows(0, 300), ids_from(0, 300));
  model.put(data.view().sub_rows(0, 300), ids_from(0, 300));
  index.seal(executor);
  index.add(data.view().sub_rows(300, 100), ids_from(300, 100));
  model.put(data.view().sub_rows(300, 100), ids_from(300, 100));
  const LiveView before = index.view();

  index.update(data.view().sub_rows(400, 50), ids_from(280, 50));
  index.remove(ids_from(0, 100));
  index.add(data.view().sub_rows(450, 150), ids_from(400, 150));
  index.seal(executor);
  index.add(data.view().sub_rows(0, 20), ids_from(0, 20));
  expect_same(before, model, queries);
  EXPECT_EQ(index.size(), 300U + 150U + 20U);
}

TEST(LiveIndex, GoesOnFromASnapshot) {
  const Matrix data = test::clustered_matrix(500, 8, 6, 0.6F, 4);
  const Matrix queries = test::clustered_matrix(10, 8, 6, 0.6F, 5);
  const auto snapshot = test::snapshot_of(data.view().sub_rows(0, 400), Metric::kCosine);
  LiveOptions options = live_options(Metric::kL2);  // the snapshot's metric counts
  LiveIndex index(snapshot, options);
  EXPECT_EQ(index.view().metric(), Metric::kCosine);
  EXPECT_EQ(index.dim(), 8U);
  LiveModel model(Metric::kCosine, 8);
  model.put(data.view().sub_rows(0, 400), ids_from(0, 400));
  expect_same(index.view(), model, queries);
  EXPECT_EQ(index.seal(Executor(1)), snapshot) << "nothing changed";
  index.add(data.view().sub_rows(400, 100), ids_from(400, 100));
  model.put(data.view().sub_rows(400, 100), ids_from(400, 100));
  expect_same(index.view(), model, queries);
}

TEST(LiveIndex, SealsAreDeterministic) {
  const Matrix data = test::clustered_matrix(700, 8, 6, 0.6F, 6);
  std::vector<std::shared_ptr<const GraphSnapshot>> seals;
  for (const std::size_t threads : {1U, 2U, 4U}) {
    const Executor executor(threads);
    LiveIndex index(8, live_options());
    index.add(data.view().sub_rows(0, 400), ids_from(0, 400));
    index.seal(executor);
    index.remove(ids_from(50, 40));
    index.update(data.view().sub_rows(600, 100), ids_from(100, 100));
    index.add(data.view().sub_rows(400, 200), ids_from(400, 200));
    seals.push_back(index.seal(executor));
  }
  EXPECT_TRUE(test::same_parts(*seals[0], *seals[1]));
  EXPECT_TRUE(test::same_parts(*seals[0], *seals[2]));
}

// 40% add, 20% remove, updates: the graph must not wear out.
TEST(LiveIndex, ChurnKeepsTheRecallOfARebuild) {
  constexpr std::size_t kDim = 16;
  const std::size_t rounds = test::kThreadSanitizer ? 3 : 15;
  const Executor executor(2);
  const Matrix data = test::clustered_matrix(2000 + rounds * 300, kDim, 30, 1.0F, 7);
  const Matrix queries = test::clustered_matrix(200, kDim, 30, 1.0F, 8);
  LiveIndex index(kDim, live_options());
  LiveModel model(Metric::kL2, kDim);
  index.add(data.view().sub_rows(0, 2000), ids_from(0, 2000));
  model.put(data.view().sub_rows(0, 2000), ids_from(0, 2000));
  Random random(9);
  for (std::size_t round = 0; round < rounds; ++round) {
    const std::size_t first = 2000 + round * 300;
    index.add(data.view().sub_rows(first, 200), ids_from(static_cast<Id>(first), 200));
    model.put(data.view().sub_rows(first, 200), ids_from(static_cast<Id>(first), 200));
    const std::vector<Id> updated = some_ids(model, 100, random);
    index.update(data.view().sub_rows(first + 200, updated.size()), updated);
    model.put(data.view().sub_rows(first + 200, updated.size()), updated);
    const std::vector<Id> removed = some_ids(model, 200, random);
    index.remove(removed);
    model.remove(removed);
    index.seal(executor);
  }
  const auto churned = index.seal(executor);
  EXPECT_EQ(churned->unreachable_count(), 0U);
  Matrix rows = Matrix::padded(model.size(), kDim);
  std::size_t at = 0;
  for (const auto& [id, vector] : model.vectors()) {
    std::copy(vector.begin(), vector.end(), rows.row(at++));
  }
  const auto rebuilt = test::snapshot_of(rows);
  SearchOptions options;
  options.ef = 40;
  const auto recall = [&](const GraphSnapshot& snapshot) {
    return recall_at(10, search_batch(snapshot, queries, options, executor),
                     exact_search_batch(snapshot, queries, options, executor));
  };
  EXPECT_GT(recall(*churned), recall(*rebuilt) - 0.02);
}

class LiveIndexErrors : public ::testing::Test {
 protected:
  LiveIndexErrors() : data_(test::random_matrix(300, 4, 10)), index_(4, live_options()) {
    put(0, 100);
    index_.seal(Executor(1));
    put(100, 100);
    index_.remove(std::vector<Id>{5, 105});
    model_.remove(std::vector<Id>{5, 105});
  }
  ~LiveIndexErrors() override {
    expect_same(index_.view(), model_, data_.view().sub_rows(0, 5));
    // Also where nothing shows: the next writes are right.
    put(1000, 60);
    index_.seal(Executor(1));
    expect_same(index_.view(), model_, data_.view().sub_rows(0, 5));
  }
  LiveIndexErrors(const LiveIndexErrors&) = delete;
  LiveIndexErrors& operator=(const LiveIndexErrors&) = delete;

  void put(Id first, std::size_t count) {
    const auto ids = ids_from(first, count);
    index_.add(data_.view().sub_rows(0, count), ids);
    model_.put(data_.view().sub_rows(0, count), ids);
  }
  MatrixView rows(std::size_t count) const { return data_.view().sub_rows(200, count); }

  Matrix data_;
  LiveIndex index_;
  LiveModel model_{Metric::kL2, 4};
};

TEST_F(LiveIndexErrors, AddAndUpdateAndRemove) {
  const float kNan = std::numeric_limits<float>::quiet_NaN();
  using Ids = std::vector<Id>;
  expect_error(ErrorCode::kDuplicateId, "id 7 of vector 1", [&] {
    index_.add(rows(2), Ids{900, 7});
  });
  expect_error(ErrorCode::kDuplicateId, "id 150 of vector 0", [&] {
    index_.add(rows(2), Ids{150, 900});
  });
  expect_error(ErrorCode::kDuplicateId, "given twice", [&] { index_.add(rows(2), Ids{909, 909}); });
  expect_error(ErrorCode::kDuplicateId, "given twice", [&] { index_.update(rows(2), Ids{9, 9}); });
  expect_error(ErrorCode::kUnknownId, "id 5 of vector 1", [&] {
    index_.update(rows(2), Ids{6, 5});
  });
  expect_error(ErrorCode::kUnknownId, "id 105", [&] { index_.update(rows(2), Ids{150, 105}); });
  expect_error(ErrorCode::kUnknownId, "id 105", [&] { index_.remove(Ids{150, 6, 105}); });
  expect_error(ErrorCode::kUnknownId, "id 6", [&] { index_.remove(Ids{6, 6}); });
  expect_error(ErrorCode::kUnknownId, "id 150", [&] { index_.remove(Ids{150, 150}); });
  expect_error(ErrorCode::kUnknownId, "id -1", [&] { index_.remove(Ids{-1}); });
  expect_error(ErrorCode::kInvalidArgument, "negative", [&] { index_.add(rows(1), Ids{-4}); });
  expect_error(ErrorCode::kInvalidArgument, "1 ids for 2", [&] { index_.add(rows(2), Ids{900}); });
  expect_error(ErrorCode::kDimensionMismatch, "5 floats",
               [&] { index_.add(test::random_matrix(1, 5, 1), Ids{900}); });
  Matrix bad = test::random_matrix(3, 4, 2);
  bad.row(2)[3] = kNan;
  expect_error(ErrorCode::kNonFinite, "vector 2", [&] { index_.add(bad, Ids{900, 901, 902}); });
  expect_error(ErrorCode::kNonFinite, "vector 2", [&] { index_.update(bad, Ids{1, 2, 3}); });
  LiveIndex cosine(4, live_options(Metric::kCosine));
  expect_error(ErrorCode::kZeroVector, "vector 0", [&] { cosine.add(Matrix(1, 4), Ids{1}); });
  index_.add(rows(0), {});
  index_.remove({});
}

// Stops a job after some items.
class StopAfter : public ProgressSink {
 public:
  explicit StopAfter(std::uint64_t items) : left_(items) {}
  void start(std::string_view, std::uint64_t) override {}
  void advance(std::uint64_t items) override {
    if (left_ <= items) stop_.request_stop();
    left_ -= std::min(left_, items);
  }
  void finish() override {}
  Job job() { return {this, stop_.get_token()}; }

 private:
  std::uint64_t left_;
  std::stop_source stop_;
};

TEST_F(LiveIndexErrors, AStoppedWriteNeverWas) {
  for (const std::uint64_t items : {1U, 10U, 70U}) {
    StopAfter adding(items);
    expect_error(ErrorCode::kCancelled, "stopped",
                 [&] { index_.add(rows(100), ids_from(900, 100), adding.job()); });
    StopAfter updating(items);
    expect_error(ErrorCode::kCancelled, "stopped",
                 [&] { index_.update(rows(94), ids_from(6, 94), updating.job()); });
  }
}

TEST_F(LiveIndexErrors, AStoppedSealChangesNothing) {
  for (const std::uint64_t items : {1U, 40U}) {
    StopAfter sealing(items);
    expect_error(ErrorCode::kCancelled, "stopped",
                 [&] { index_.seal(Executor(1), sealing.job()); });
  }
}

TEST_F(LiveIndexErrors, AFailedAllocationChangesNothing) {
  const std::vector<Id> added = ids_from(900, 30), updated{7, 150, 8}, removed{9, 160};
  std::size_t failures = 0;
  for (int operation = 0; operation < 4; ++operation) {
    const std::size_t step = test::kThreadSanitizer ? 37 : 1;
    for (std::size_t after = 0;; after += operation == 3 ? step : 1) {
      const test::FailingAllocations allocations(after);
      try {
        if (operation == 0) index_.add(rows(30), added);
        if (operation == 1) index_.update(rows(3), updated);
        if (operation == 2) index_.remove(removed);
        if (operation == 3) index_.seal(Executor(1));
        break;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kOutOfMemory);
      } catch (const std::bad_alloc&) {
        // There was no memory for the message either.
      }
      ++failures;
    }
    if (operation == 0) model_.put(rows(30), added);
    if (operation == 1) model_.put(rows(3), updated);
    if (operation == 2) model_.remove(removed);
    ASSERT_EQ(index_.size(), model_.size());
  }
  EXPECT_GT(failures, 30U);
}

TEST(LiveIndexOptions, BadOnesAreRefused) {
  const auto with = [](auto change) {
    LiveOptions options = live_options();
    change(options);
    return options;
  };
  expect_error(ErrorCode::kInvalidArgument, "dimension is 0", [] { LiveIndex(0, live_options()); });
  expect_error(ErrorCode::kInvalidArgument, "M is 1",
               [&] { LiveIndex(3, with([](LiveOptions& o) { o.build.M = 1; })); });
  expect_error(ErrorCode::kInvalidArgument, "min_changes",
               [&] { LiveIndex(3, with([](LiveOptions& o) { o.min_changes = 0; })); });
  expect_error(ErrorCode::kInvalidArgument, "delta_ef_construction",
               [&] { LiveIndex(3, with([](LiveOptions& o) { o.delta_ef_construction = 0; })); });
  for (const double share : {0.0, -1.0, 1.5, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorCode::kInvalidArgument, "change_share",
                 [&] { LiveIndex(3, with([&](LiveOptions& o) { o.change_share = share; })); });
  }
  for (const double behind : {1.9, -1.0, std::numeric_limits<double>::quiet_NaN()}) {
    expect_error(ErrorCode::kInvalidArgument, "most_behind",
                 [&] { LiveIndex(3, with([&](LiveOptions& o) { o.most_behind = behind; })); });
  }
  expect_error(ErrorCode::kInvalidArgument, "without a snapshot",
               [] { LiveIndex(nullptr, live_options()); });
}

TEST(LiveIndexBackground, SealsWhatCameAndWhatWent) {
  const Matrix data = test::clustered_matrix(1200, 8, 9, 0.6F, 11);
  const Matrix queries = test::clustered_matrix(10, 8, 9, 0.6F, 12);
  LiveOptions options = live_options();
  options.background = true;
  options.min_changes = 100;
  LiveIndex index(8, options);
  LiveModel model(Metric::kL2, 8);
  for (std::size_t i = 0; i < 1200; ++i) {
    const auto id = static_cast<Id>(i);
    index.add(data.view().sub_rows(i, 1), std::vector<Id>{id});
    model.put(data.view().sub_rows(i, 1), std::vector<Id>{id});
    if (i % 3 == 2) {
      index.remove(std::vector<Id>{id / 2});
      model.remove(std::vector<Id>{id / 2});
    }
    if (i % 3 == 1) {
      index.update(data.view().sub_rows(i / 4, 1), std::vector<Id>{id});
      model.put(data.view().sub_rows(i / 4, 1), std::vector<Id>{id});
    }
  }
  const auto small = [&] {
    const auto stats = index.stats();
    return stats.delta + stats.sealed_removed < 100;
  };
  while (!small()) std::this_thread::yield();
  EXPECT_GT(index.stats().seals, 0U);
  EXPECT_EQ(index.stats().failed_seals, 0U);
  expect_same(index.view(), model, queries);
  expect_same(LiveIndex(index.seal(Executor(1)), live_options()).view(), model, queries);
}

// Writers, readers, the background and callers of seal() at once. Every reader knows what was
// written before its search began.
TEST(LiveIndexBackground, EverySearchSeesEveryWriteBeforeIt) {
  constexpr std::size_t kDim = 8;
  const std::size_t kWriters = 2, per_writer = test::kThreadSanitizer ? 400 : 2500;
  const Matrix data = test::clustered_matrix(kWriters * per_writer, kDim, 20, 0.6F, 13);
  LiveOptions options = live_options();
  options.background = true;
  options.min_changes = 150;
  LiveIndex index(kDim, options);
  // A writer adds its rows in order; each tenth it removes again at once, each seventh it updates.
  std::vector<std::atomic<std::size_t>> written(kWriters);
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  const auto removed = [](std::size_t i) { return i % 10 == 9; };
  std::vector<std::thread> threads;
  for (std::size_t w = 0; w < kWriters; ++w) {
    threads.emplace_back([&, w] {
      for (std::size_t i = 0; i < per_writer; ++i) {
        const std::size_t row = w * per_writer + i;
        const std::vector<Id> id{static_cast<Id>(row)};
        index.add(data.view().sub_rows(row, 1), id);
        if (i % 7 == 6) index.update(data.view().sub_rows(row, 1), id);
        if (removed(i)) index.remove(id);
        written[w] = i + 1;
      }
    });
  }
  for (std::size_t r = 0; r < 3; ++r) {
    threads.emplace_back([&, r] {
      Random random(100 + r);
      LiveScratch scratch;
      std::vector<LiveNeighbour> out(5);
      LiveSearchOptions search;
      search.k = 5;
      search.ef = 40;
      while (!done) {
        const std::size_t w = random.below(kWriters), known = written[w];
        if (known == 0) continue;
        const std::size_t i = random.below(known), row = w * per_writer + i;
        const LiveView view = index.view();
        if (view.contains(static_cast<Id>(row)) == removed(i)) ++wrong;
        const std::size_t found = view.search(data.row_span(row), search, scratch, out);
        if (found != std::min<std::size_t>(5, view.size())) ++wrong;
        std::set<Id> ids;
        for (std::size_t n = 0; n < found; ++n) ids.insert(out[n].id);
        if (ids.size() != found) ++wrong;
        for (const Id id : ids) {
          const std::size_t of = static_cast<std::size_t>(id) % per_writer;
          // Seen between its add and its remove only while that is not known to be over.
          if (removed(of) && of < known && static_cast<std::size_t>(id) / per_writer == w) ++wrong;
        }
      }
    });
  }
  std::thread sealer([&] {
    const Executor executor(1);
    while (!done) index.seal(executor);
  });
  for (std::size_t w = 0; w < kWriters; ++w) threads[w].join();
  done = true;
  for (std::size_t t = kWriters; t < threads.size(); ++t) threads[t].join();
  sealer.join();
  EXPECT_EQ(wrong, 0);
  std::size_t expected = 0;
  for (std::size_t i = 0; i < per_writer; ++i) expected += removed(i) ? 0 : kWriters;
  EXPECT_EQ(index.size(), expected);
  const auto sealed = index.seal(Executor(1));
  EXPECT_EQ(sealed->size(), expected);
  EXPECT_EQ(sealed->unreachable_count(), 0U);
}

// Writers that a seal cannot follow are slowed down: what waits stays bounded.
TEST(LiveIndexBackground, HoldsBackWritersItCannotFollow) {
  constexpr std::size_t kRows = 3000, kWriters = 2, kWanted = 50, kBehind = 2;
  const Matrix data = test::clustered_matrix(kRows * kWriters, 8, 9, 0.6F, 15);
  LiveOptions options = live_options();
  options.background = true;
  options.min_changes = kWanted;
  options.change_share = 0.01;
  options.most_behind = kBehind;
  LiveIndex index(8, options);
  std::atomic<bool> done{false};
  std::thread reader([&] {  // keeps a core busy, so that an idle seal would never run
    LiveScratch scratch;
    std::vector<LiveNeighbour> out(5);
    while (!done) index.search(data.row_span(0), {.k = 5}, scratch, out);
  });
  std::atomic<std::size_t> most{0};
  std::vector<std::thread> writers;
  for (std::size_t w = 0; w < kWriters; ++w) {
    writers.emplace_back([&, w] {
      for (std::size_t i = w * kRows; i < (w + 1) * kRows; ++i) {
        index.add(data.view().sub_rows(i, 1), std::vector<Id>{static_cast<Id>(i)});
        const auto stats = index.stats();
        const std::size_t wanted = std::max(kWanted, stats.sealed / 100);
        const std::size_t over = stats.delta - std::min(stats.delta, 2 * kBehind * wanted);
        for (std::size_t seen = most; over > seen && !most.compare_exchange_weak(seen, over);) {
        }
      }
    });
  }
  for (auto& writer : writers) writer.join();
  done = true;
  reader.join();
  EXPECT_EQ(index.size(), kRows * kWriters);
  EXPECT_LE(most, kWriters);
  EXPECT_EQ(index.stats().failed_seals, 0U);
}

TEST(LiveIndexBackground, EndsInTheMidstOfASeal) {
  const Matrix data = test::random_matrix(2000, 16, 14);
  LiveOptions options = live_options();
  options.background = true;
  options.min_changes = 500;
  for (int i = 0; i < 3; ++i) {
    LiveIndex index(16, options);
    index.add(data, ids_from(0, 2000));
  }
}

}  // namespace
}  // namespace halo
