#include "halo/integration/live_engine.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <limits>
#include <numeric>
#include <thread>
#include <vector>

#include "halo/index/exact_search.h"
#include "halo/integration/engine_handle.h"
#include "halo/integration/node_attention.h"
#include "support/test_support.h"

namespace halo {
namespace {

constexpr std::size_t kRows = 600, kDim = 16, kClusters = 12;

const Matrix& base() {
  static const Matrix matrix = test::clustered_matrix(kRows, kDim, kClusters, 1.0F, 1);
  return matrix;
}
std::vector<Id> ids(std::size_t first, std::size_t count) {
  std::vector<Id> all(count);
  std::iota(all.begin(), all.end(), static_cast<Id>(first));
  return all;
}
LiveOptions cosine() {
  LiveOptions options;
  options.build.metric = Metric::kCosine;
  return options;
}
const std::shared_ptr<const Engine>& refined() {
  static const auto engine = std::make_shared<const Engine>(
      Engine::build(base().view().sub_rows(0, 500), {}, {.metric = Metric::kCosine}, Executor(2))
          .refined({}, Executor(2)));
  return engine;
}
MatrixView queries(std::size_t count = 60) { return base().view().sub_rows(0, count); }
QueryOptions with(std::size_t k, RefineMode mode) {
  QueryOptions options;
  options.k = k;
  options.refine = mode;
  options.candidates = 100;
  return options;
}
std::vector<Id> row(const BatchResults& results, std::size_t q) {
  return {results.ids.begin() + static_cast<std::ptrdiff_t>(q * results.k),
          results.ids.begin() + static_cast<std::ptrdiff_t>(q * results.k + results.found[q])};
}

TEST(LiveEngine, WithoutWritesItIsTheEngine) {
  const LiveEngine live(refined(), {});
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    const auto expected = refined()->search(queries(), with(10, mode), Executor(1));
    const auto results = live.search(queries(), with(10, mode), Executor(2));
    EXPECT_EQ(results.ids, expected.ids);
    EXPECT_EQ(results.scores, expected.scores);
    EXPECT_EQ(results.gate, expected.gate);
  }
}

TEST(LiveEngine, WritesAreFoundAtOnceRefinedOrNot) {
  LiveEngine live(refined(), {});
  live.add(base().view().sub_rows(500, 100), ids(500, 100));
  live.remove(ids(0, 50));
  live.update(base().view().sub_rows(0, 1), ids(100, 1));  // id 100 is where id 0 was
  EXPECT_EQ(live.size(), 550U);
  EXPECT_EQ(live.unsettled(), 101U + 51U);
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    QueryOptions options = with(5, mode);
    options.explain = true;
    const auto results = live.search(base(), options, Executor(2));
    for (std::size_t q = 0; q < kRows; ++q) {
      const auto found = row(results, q);
      ASSERT_EQ(found.size(), 5U);
      for (const Id id : found) EXPECT_GE(id, 50) << "a removed vector was found";
      // A vector written since has its plain rank: it is its own nearest.
      if (q >= 500) {
        EXPECT_EQ(found[0], static_cast<Id>(q));
        EXPECT_EQ(results.plain_ids[q * 5], static_cast<Id>(q));
        EXPECT_EQ(results.plain_ranks[q * 5], 1U);
      }
    }
    EXPECT_EQ(row(results, 0)[0], 100);
  }
}

TEST(LiveEngine, PlainResultsAreThoseOfAnExactSearch) {
  LiveEngine live(kDim, cosine());
  EXPECT_EQ(live.search(queries(3), with(4, RefineMode::kOff), Executor(1)).found,
            std::vector<std::size_t>(3, 0));
  live.upsert(base().view().sub_rows(0, 300), ids(0, 300));
  ASSERT_TRUE(live.settle({}, Executor(2)));
  live.upsert(base().view().sub_rows(200, 200), ids(200, 200));  // half of them there already
  live.remove(ids(0, 10));
  const Engine all = Engine::build(base().view().sub_rows(10, 390), ids(10, 390),
                                   {.metric = Metric::kCosine}, Executor(1));
  const auto exact = exact_search_batch(*all.snapshot(), queries(), {.k = 10}, Executor(1));
  QueryOptions options = with(10, RefineMode::kOff);
  options.ef = 300;
  const auto results = live.search(queries(), options, Executor(2));
  for (std::size_t q = 0; q < 60; ++q) {
    for (std::size_t i = 0; i < 10; ++i) {
      EXPECT_EQ(results.ids[q * 10 + i], all.snapshot()->id(exact.of(q)[i].node));
    }
  }
}

TEST(LiveEngine, FiltersIdsOfBothParts) {
  LiveEngine live(refined(), {});
  live.add(base().view().sub_rows(500, 100), ids(500, 100));
  live.remove(ids(1, 1));
  IdFilter odd;
  odd.allows = [](Id id) { return id % 2 == 1; };
  IdFilter odd_bits = odd;
  odd_bits.nodes = [&](const std::shared_ptr<const GraphSnapshot>& snapshot) {
    auto bits = std::make_shared<std::vector<std::uint64_t>>((snapshot->size() + 63) / 64);
    for (Node node = 0; node < snapshot->size(); ++node) {
      if (odd.allows(snapshot->id(node))) (*bits)[node / 64] |= std::uint64_t{1} << node % 64;
    }
    return Filter::of_bits(bits);
  };
  for (const auto& [mode, filter] : {std::pair{RefineMode::kOff, odd},
                                     {RefineMode::kAuto, odd},
                                     {RefineMode::kAuto, odd_bits}}) {
    const auto results = live.search(base(), with(8, mode), Executor(2), {}, filter);
    bool old_part = false, new_part = false;
    for (const Id id : results.ids) {
      EXPECT_EQ(id % 2, 1);
      EXPECT_NE(id, 1);
      (id < 500 ? old_part : new_part) = true;
    }
    EXPECT_TRUE(old_part && new_part);
  }
}

TEST(LiveEngine, KMayExceedWhatLives) {
  LiveEngine live(kDim, cosine());
  live.add(base().view().sub_rows(0, 20), ids(0, 20));
  live.settle({}, Executor(1));
  live.add(base().view().sub_rows(20, 5), ids(20, 5));
  const auto results = live.search(queries(2), with(100, RefineMode::kOff), Executor(1));
  EXPECT_EQ(results.k, 100U);
  EXPECT_EQ(results.found[0], 25U);
  EXPECT_EQ(results.ids[25], -1);
}

TEST(LiveEngine, SettlingFoldsInAndRefinesAgain) {
  LiveEngine live(refined(), {});
  live.add(base().view().sub_rows(500, 100), ids(500, 100));
  live.remove(ids(0, 30));
  const auto settled = live.settle({}, Executor(2));
  ASSERT_TRUE(settled);
  EXPECT_EQ(live.engine(), settled);
  EXPECT_EQ(settled->snapshot()->size(), 570U);
  ASSERT_TRUE(settled->model()) << "it was refined before";
  EXPECT_EQ(live.unsettled(), 0U);
  EXPECT_EQ(live.settle({}, Executor(2)), settled) << "nothing to do";
  const auto results = live.search(queries(), with(5, RefineMode::kAuto), Executor(2));
  for (const Id id : results.ids) EXPECT_GE(id, 30);
  live.remove(ids(30, 570));
  EXPECT_EQ(live.settle({}, Executor(1)), nullptr);
  EXPECT_EQ(live.size(), 0U);
  live.add(base().view().sub_rows(0, 1), ids(0, 1));
  EXPECT_EQ(live.size(), 1U);
}

// What a model answers with: projections, weights, states and walks of every head.
void expect_same_heads(const gnn::RefinementModel& a, const gnn::RefinementModel& b) {
  ASSERT_EQ(a.parts().heads.size(), b.parts().heads.size());
  for (std::size_t h = 0; h < a.parts().heads.size(); ++h) {
    const auto &x = a.parts().heads[h], &y = b.parts().heads[h];
    EXPECT_EQ(x.weight, y.weight);
    EXPECT_EQ(x.projection.mean(), y.projection.mean());
    for (std::uint32_t i = 0; i < a.size(); ++i) {
      EXPECT_EQ(std::memcmp(x.states.row(i), y.states.row(i), x.states.cols()), 0) << i;
      EXPECT_TRUE(std::ranges::equal(x.structure.row(i), y.structure.row(i))) << i;
    }
  }
}

TEST(LiveEngine, SettlingComputesTheChangedNeighbourhoodAgainAndRefiningEverything) {
  LiveEngine live(refined(), cosine());
  live.add(base().view().sub_rows(500, 10), ids(500, 10));
  live.remove(ids(0, 5));
  const auto settled = live.settle({}, Executor(2));
  const auto& model = *settled->model();
  EXPECT_EQ(model.parts().changed, 15U) << "the heads are those of before";
  EXPECT_EQ(model.parts().heads[0].projection.mean(),
            refined()->model()->parts().heads[0].projection.mean());
  EXPECT_TRUE(model.parts().dirty.empty());
  expect_same_heads(
      model,
      *refined()->with_snapshot(settled->snapshot(), Executor(1)).recomputed(Executor(1)).model());

  const auto again = live.settle({.refine = true}, Executor(2));
  EXPECT_EQ(again->model()->parts().changed, 0U);
  expect_same_heads(*again->model(), *Engine(settled->snapshot()).refined({}, Executor(1)).model());
}

TEST(LiveEngine, WritesBeyondAFifthHaveTheirHeadsChosenAnew) {
  LiveEngine live(refined(), cosine());
  live.add(base().view().sub_rows(500, 100), ids(500, 100));
  live.remove(ids(0, 30));
  const auto settled = live.settle({}, Executor(2));
  EXPECT_EQ(settled->model()->parts().changed, 0U);
  expect_same_heads(*settled->model(),
                    *Engine(settled->snapshot()).refined({}, Executor(1)).model());
}

TEST(LiveEngine, WritesDuringASettleSurviveIt) {
  LiveEngine live(kDim, cosine());
  live.add(base().view().sub_rows(0, 300), ids(0, 300));
  std::atomic<bool> done{false};
  std::thread settler([&] {
    for (int i = 0; i < 3; ++i) live.settle({.refine = true}, Executor(1));
    done = true;
  });
  std::size_t written = 0;
  while (!done || written < 300) {
    if (written < 300) {
      const Matrix one = Matrix::copy_of(base().view().sub_rows(300 + written, 1));
      live.add(one, ids(300 + written, 1));
      live.remove(ids(written, 1));
      ++written;
    }
    ASSERT_EQ(live.size(), 300U);
  }
  settler.join();
  live.settle({}, Executor(1));
  for (Id id = 0; id < 600; ++id) EXPECT_EQ(live.contains(id), id >= 300) << id;
}

TEST(LiveEngine, UpsertIsAllOrNothing) {
  LiveEngine live(refined(), {});
  Matrix bad = Matrix::copy_of(base().view().sub_rows(498, 4));
  bad.row(3)[2] = std::numeric_limits<float>::quiet_NaN();
  test::expect_error(ErrorCode::kNonFinite, "vector", [&] { live.upsert(bad, ids(498, 4)); });
  test::expect_error(ErrorCode::kNonFinite, "vector 3", [&] { live.check_vectors(bad); });
  const std::vector<Id> twice = {500, 501, 500};
  test::expect_error(ErrorCode::kDuplicateId, "500",
                     [&] { live.upsert(base().view().sub_rows(0, 3), twice); });
  test::expect_error(ErrorCode::kDimensionMismatch, "16",
                     [&] { live.upsert(base().view().sub_cols(0, 3).sub_rows(0, 3), twice); });
  EXPECT_EQ(live.unsettled(), 0U);
  EXPECT_EQ(live.size(), 500U);
}

TEST(LiveEngine, RefusesWhatItCannotAnswer) {
  const LiveEngine empty(kDim, cosine());
  test::expect_error(ErrorCode::kNotPrepared, "refined",
                     [&] { empty.search(queries(1), with(3, RefineMode::kAuto), Executor(1)); });
  test::expect_error(ErrorCode::kInvalidArgument, "k is 0",
                     [&] { empty.search(queries(1), with(0, RefineMode::kOff), Executor(1)); });
  test::expect_error(ErrorCode::kDimensionMismatch, "3", [&] {
    empty.search(base().view().sub_cols(0, 3).sub_rows(0, 1), with(1, RefineMode::kOff),
                 Executor(1));
  });
}

TEST(LiveEngine, TrainsAndKeepsWhatIsAccepted) {
  LiveEngine live(kDim, cosine());
  live.add(base(), ids(0, kRows));
  const TrainReport report = live.train(
      [](const GraphSnapshot& snapshot) {
        TrainingData data;
        for (const Id id : snapshot.ids()) {
          data.labels.push_back(id % static_cast<Id>(kClusters));
        }
        return data;
      },
      {}, Executor(2));
  EXPECT_EQ(report.accepted, live.engine()->trained() != nullptr);
  if (report.accepted) {
    EXPECT_EQ(live.search(queries(3), with(4, RefineMode::kTrained), Executor(1)).found[0], 4U);
  }
}

TEST(EngineHandle, RequestsKeepTheEngineOfTheirMoment) {
  EngineHandle handle(refined());
  const auto mine = handle.load();
  const auto other = std::make_shared<const Engine>(refined()->snapshot());
  handle.publish(other);
  EXPECT_EQ(mine, refined());
  EXPECT_EQ(handle.load(), other);
}

TEST(NodeAttention, WeightsOfAVectorsWindowSumToOne) {
  const NodeAttention node = node_attention(*refined(), 42);
  EXPECT_FALSE(node.links.empty());
  ASSERT_FALSE(node.heads.empty());
  for (const auto& head : node.heads) {
    ASSERT_EQ(head.weights.size(), node.window.size());
    EXPECT_NEAR(std::accumulate(head.weights.begin(), head.weights.end(), 0.0), 1.0, 1e-3);
  }
  for (std::size_t i = 1; i < node.window.size(); ++i) {
    EXPECT_LE(node.window[i - 1].distance, node.window[i].distance);
  }
  test::expect_error(ErrorCode::kUnknownId, "9999", [] { node_attention(*refined(), 9999); });
}

}  // namespace
}  // namespace halo
