// What was measured to go wrong in hnswlib 0.6.2, one test each: halo does not inherit it. Its
// files' faults are in tests/integration/io, allocation failures in faults_test.cpp.
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdio>
#include <limits>
#include <mutex>
#include <set>
#include <thread>

#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/recall.h"
#include "index/hnswlib_peer.h"
#include "index/live_fixtures.h"

namespace halo {
namespace {

using test::expect_error;
using test::ids_from;
using test::live_search;

constexpr std::size_t kDim = 8;

double recall_of(const GraphSnapshot& snapshot, const MatrixView& queries) {
  const Executor executor(2);
  SearchOptions options;
  options.ef = 30;
  return recall_at(10, search_batch(snapshot, queries, options, executor),
                   exact_search_batch(snapshot, queries, options, executor));
}

// There, one NaN vector takes recall@10 from .989 to .875 and 1% of them to .013.
TEST(HnswlibFaults, NaNVectorsAreRefusedAndHarmNothing) {
  const Matrix data = test::clustered_matrix(2000, kDim, 20, 0.8F, 1);
  const Matrix queries = test::clustered_matrix(100, kDim, 20, 0.8F, 2);
  const Executor executor(1);
  VectorIndex index(kDim, test::build_options(Metric::kL2));
  VectorIndex undisturbed(kDim, test::build_options(Metric::kL2));
  LiveIndex live(kDim, test::live_options());
  for (std::size_t i = 0; i < 2000; i += 100) {
    Matrix bad = Matrix::copy_of(data.view().sub_rows(i, 100));
    bad.row(i % 100)[i % kDim] = std::numeric_limits<float>::quiet_NaN();
    const auto ids = ids_from(static_cast<Id>(i), 100);
    expect_error(ErrorCode::kNonFinite, "vector", [&] { index.add(bad, ids, executor); });
    expect_error(ErrorCode::kNonFinite, "vector", [&] { live.add(bad, ids); });
    index.add(data.view().sub_rows(i, 100), ids, executor);
    undisturbed.add(data.view().sub_rows(i, 100), ids, executor);
    live.add(data.view().sub_rows(i, 100), ids);
  }
  const auto clean = undisturbed.seal(executor);
  EXPECT_TRUE(test::same_parts(*index.seal(executor), *clean));
  EXPECT_GE(recall_of(*live.seal(executor), queries), recall_of(*clean, queries) - 0.01);
}

// There, an insert after everything but the entry point was deleted reads an empty vector.
TEST(HnswlibFaults, EverythingButOneIsRemovedAndOthersAreAdded) {
  const Executor executor(1);
  const Matrix data = test::random_matrix(300, kDim, 3);
  for (std::size_t M = 2; M <= 6; ++M) {
    for (const bool sealed : {false, true}) {
      // Whichever the entry point is, it is the one that stays in one of the rounds.
      for (const Id stays : {0, 1, 17, 99}) {
        LiveOptions options = test::live_options();
        options.build.M = M;
        LiveIndex index(kDim, options);
        index.add(data.view().sub_rows(0, 100), ids_from(0, 100));
        if (sealed) index.seal(executor);
        std::vector<Id> others = ids_from(0, 100);
        others.erase(others.begin() + stays);
        index.remove(others);
        EXPECT_EQ(live_search(index.view(), data.row_span(5), {10, 64, {}}).size(), 1U);
        index.add(data.view().sub_rows(100, 200), ids_from(100, 200));
        std::size_t missed = 0;
        for (std::size_t i = 100; i < 300; ++i) {
          const auto found = live_search(index.view(), data.row_span(i), {1, 64, {}});
          ASSERT_EQ(found.size(), 1U);
          missed += found[0].id == static_cast<Id>(i) ? 0 : 1;
        }
        // Two links a node find no more.
        EXPECT_LE(missed, M == 2 ? 40U : 10U) << M;
        const auto whole = index.seal(executor);
        EXPECT_EQ(whole->size(), 201U);
        EXPECT_EQ(whole->unreachable_count(), 0U);
      }
    }
  }
}

// There, a search past 90% deleted points costs ten times one without.
TEST(HnswlibFaults, ASearchPastRemovedVectorsCostsNoMore) {
  const std::size_t n = 6000;
  const Matrix data = test::clustered_matrix(n, kDim, 20, 0.8F, 4);
  LiveIndex index(test::snapshot_of(data), test::live_options());
  std::atomic<std::size_t> looked_at{0};
  LiveSearchOptions options{10, 64, [&](Id) {
                              ++looked_at;
                              return true;
                            }};
  const auto cost = [&] {
    looked_at = 0;
    for (std::size_t q = 0; q < 50; ++q) {
      const auto found = live_search(index.view(), data.row_span(q * 7), options);
      EXPECT_EQ(found.size(), 10U);
    }
    return looked_at.load();
  };
  const std::size_t before = cost();
  std::vector<Id> removed;
  for (Id id = 0; id < static_cast<Id>(n); ++id) {
    if (id % 20 != 0) removed.push_back(id);  // 95%
  }
  index.remove(removed);
  EXPECT_LE(cost(), 2 * before);
  std::size_t hits = 0;
  for (std::size_t q = 0; q < 50; ++q) {
    const auto found = live_search(index.view(), data.row_span(q * 7), {10, 64, {}});
    const auto exact = live_search(index.view(), data.row_span(q * 7), {10, 64, {}}, true);
    for (const LiveNeighbour& neighbour : found) {
      hits += static_cast<std::size_t>(std::count(exact.begin(), exact.end(), neighbour));
    }
  }
  EXPECT_GE(hits, 490U);
  // And a seal takes them away.
  EXPECT_EQ(index.seal(Executor(1))->size(), n - removed.size());
}

// There, a query or a vector of another length is read past its end.
TEST(HnswlibFaults, TheDimensionIsChecked) {
  const auto snapshot = test::snapshot_of(test::random_matrix(50, kDim, 5));
  LiveIndex live(snapshot, test::live_options());
  SearchScratch scratch;
  std::vector<Neighbour> out(10);
  for (const std::size_t dim : {std::size_t{0}, kDim - 1, kDim + 1, 2 * kDim}) {
    const std::vector<float> query(dim, 1.0F);
    expect_error(ErrorCode::kDimensionMismatch, "dimension 8",
                 [&] { search(*snapshot, query, {}, scratch, out); });
    expect_error(ErrorCode::kDimensionMismatch, "dimension 8",
                 [&] { live_search(live.view(), query, {}); });
    const MatrixView row(query.data(), 1, dim);
    expect_error(ErrorCode::kDimensionMismatch, "dimension 8",
                 [&] { live.add(row, std::vector<Id>{1000}); });
  }
}

// There is no cosine there, and its users forget to normalise.
TEST(HnswlibFaults, CosineNeedsNoUnitVectors) {
  Matrix data = test::clustered_matrix(800, kDim, 10, 0.8F, 6);
  const auto unit = test::snapshot_of(test::normalised(data), Metric::kCosine);
  for (std::size_t i = 0; i < data.rows(); ++i) {
    const float length = std::pow(10.0F, static_cast<float>(i % 21) - 10.0F);
    for (std::size_t d = 0; d < kDim; ++d) data.row(i)[d] *= length;
  }
  const auto any = test::snapshot_of(data, Metric::kCosine);
  const Executor executor(1);
  const SearchResults a = search_batch(*unit, data, {}, executor);
  const SearchResults b = search_batch(*any, data, {}, executor);
  std::size_t same = 0;
  for (std::size_t q = 0; q < data.rows(); ++q) {
    std::set<Id> ids;
    for (const Neighbour& n : a.of(q)) ids.insert(unit->id(n.node));
    for (const Neighbour& n : b.of(q)) same += ids.count(any->id(n.node));
    EXPECT_NEAR(b.of(q)[0].distance, 0.0F, 1e-5F);
  }
  EXPECT_GE(same, 10 * data.rows() * 99 / 100);
}

// There, functions in the header that are not inline clash between two files of a program. halo's
// own copy is renamed: this program has hnswlib's beside it (hnswlib_peer.cpp), and both answer.
TEST(HnswlibFaults, AProgramMayUseHnswlibItself) {
  if (test::kThreadSanitizer) GTEST_SKIP() << "hnswlib's own insertion inverts its lock order";
  const Matrix data = test::clustered_matrix(500, kDim, 10, 0.5F, 7);
  const auto peer = test::hnswlib_nearest(Metric::kL2, data, 8, 60, data, 1, 64);
  const auto snapshot = test::snapshot_of(data);
  SearchScratch scratch;
  std::vector<Neighbour> out(1);
  std::size_t same = 0;
  for (std::size_t q = 0; q < 500; ++q) {
    search(*snapshot, data.row_span(q), {1, 64, {}}, scratch, out);
    same += static_cast<std::size_t>(snapshot->id(out[0].node)) == peer[q].at(0) ? 1 : 0;
  }
  EXPECT_GE(same, 495U);
}

// There, growing an index while it is searched is a use after free, and so is deleting beside
// inserting. Here old moments stay whole while the delta grows past its room many times.
TEST(HnswlibFaults, GrowingAndRemovingBesideSearches) {
  const std::size_t n = test::kThreadSanitizer ? 1500 : 6000;
  const Matrix data = test::clustered_matrix(n, kDim, 20, 0.8F, 8);
  LiveIndex index(kDim, test::live_options());
  index.add(data.view().sub_rows(0, 64), ids_from(0, 64));
  const LiveView first = index.view();
  std::atomic<bool> done{false};
  std::atomic<std::size_t> searches{0}, wrong{0};
  std::vector<std::jthread> readers;
  for (std::size_t r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      Random random(r);
      while (!done || searches < 30) {
        const auto query = data.row_span(random.below(n));
        for (const LiveView& view : {first, index.view()}) {
          const auto found = live_search(view, query, {10, 32, {}});
          wrong += found.size() == 10 ? 0 : 1;
        }
        ++searches;
      }
    });
  }
  for (std::size_t i = 64; i < n; i += 16) {
    const std::size_t count = std::min<std::size_t>(16, n - i);
    index.add(data.view().sub_rows(i, count), ids_from(static_cast<Id>(i), count));
    index.remove(ids_from(static_cast<Id>(i), count / 4));
  }
  done = true;
  readers.clear();
  EXPECT_EQ(wrong, 0U);
  EXPECT_EQ(first.size(), 64U);
}

// A std::shared_mutex lets three busy readers starve its writer. Here readers who sit in the midst
// of their searches for good do not hold up a writer ...
TEST(HnswlibFaults, AWriterNeverWaitsForReaders) {
  const Matrix data = test::clustered_matrix(600, kDim, 10, 0.8F, 9);
  LiveIndex index(kDim, test::live_options());
  index.add(data.view().sub_rows(0, 100), ids_from(0, 100));
  index.seal(Executor(1));
  index.add(data.view().sub_rows(100, 100), ids_from(100, 100));
  std::mutex mutex;
  std::condition_variable changed;
  std::size_t inside = 0;
  bool let_go = false;
  std::vector<std::jthread> readers;
  for (std::size_t r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      const auto wait = [&](Id) {
        std::unique_lock lock(mutex);
        ++inside;
        changed.notify_all();
        changed.wait(lock, [&] { return let_go; });
        return true;
      };
      EXPECT_EQ(live_search(index.view(), data.row_span(r), {10, 32, wait}).size(), 10U);
    });
  }
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside == 3; });
  }
  // All of this returns while they sit there, or the test never ends.
  index.add(data.view().sub_rows(200, 400), ids_from(200, 400));
  index.update(data.view().sub_rows(0, 50), ids_from(50, 50));
  index.remove(ids_from(0, 30));
  EXPECT_EQ(index.seal(Executor(1))->size(), 570U);
  {
    const std::unique_lock lock(mutex);
    let_go = true;
  }
  changed.notify_all();
}

// ... nor does a writer in the midst of its write hold up a reader.
TEST(HnswlibFaults, AReaderNeverWaitsForAWriter) {
  const Matrix data = test::clustered_matrix(400, kDim, 10, 0.8F, 10);
  LiveIndex index(kDim, test::live_options());
  index.add(data.view().sub_rows(0, 100), ids_from(0, 100));
  std::mutex mutex;
  std::condition_variable changed;
  bool inside = false, let_go = false;
  // Reports of progress come from the midst of linking, with the writer's lock held.
  struct Sit : ProgressSink {
    std::function<void()> wait;
    void start(std::string_view, std::uint64_t) override {}
    void advance(std::uint64_t) override { wait(); }
    void finish() override {}
  } sit;
  sit.wait = [&] {
    std::unique_lock lock(mutex);
    inside = true;
    changed.notify_all();
    changed.wait(lock, [&] { return let_go; });
  };
  std::jthread writer([&] {
    index.add(data.view().sub_rows(100, 300), ids_from(100, 300), {&sit, {}});
  });
  {
    std::unique_lock lock(mutex);
    changed.wait(lock, [&] { return inside; });
  }
  for (std::size_t q = 0; q < 100; ++q) {
    EXPECT_EQ(live_search(index.view(), data.row_span(q), {10, 32, {}}).size(), 10U);
  }
  EXPECT_EQ(index.size(), 100U) << "nothing of the write is seen before it is over";
  {
    const std::unique_lock lock(mutex);
    let_go = true;
  }
  changed.notify_all();
  writer.join();
  EXPECT_EQ(index.size(), 400U);
}

// Three readers without a pause: prints what an insert waits for. (The bound that decides is that
// it ends.)
TEST(HnswlibFaults, InsertsUnderSaturatingReaders) {
  using Clock = std::chrono::steady_clock;
  const Matrix data = test::clustered_matrix(5000, kDim, 20, 0.8F, 11);
  LiveOptions options = test::live_options();
  options.background = true;
  options.min_changes = 512;
  LiveIndex index(test::snapshot_of(data.view().sub_rows(0, 4000)), options);
  std::atomic<bool> done{false};
  std::atomic<std::uint64_t> searches{0};
  std::vector<std::jthread> readers;
  for (std::size_t r = 0; r < 3; ++r) {
    readers.emplace_back([&, r] {
      Random random(r);
      LiveScratch scratch;
      std::vector<LiveNeighbour> out(10);
      while (!done) {
        index.search(data.row_span(random.below(5000)), {10, 64, {}}, scratch, out);
        ++searches;
      }
    });
  }
  std::vector<double> waits;
  for (std::size_t i = 4000; i < 5000; ++i) {
    const auto start = Clock::now();
    index.add(data.view().sub_rows(i, 1), ids_from(static_cast<Id>(i), 1));
    waits.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
  }
  done = true;
  readers.clear();
  std::sort(waits.begin(), waits.end());
  std::printf("1,000 inserts beside %llu searches of 3 readers: median %.2f ms, longest %.2f ms\n",
              static_cast<unsigned long long>(searches.load()), waits[500], waits.back());
  EXPECT_EQ(index.size(), 5000U);
}

}  // namespace
}  // namespace halo
