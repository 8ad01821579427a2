#include "halo/integration/refine_update.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_heads.h"
#include "halo/index/live_index.h"
#include "halo/integration/engine.h"
#include "halo/integration/refine.h"
#include "support/test_support.h"

namespace halo {
namespace {

constexpr std::size_t kRows = 1200, kDim = 24, kClusters = 30;

Matrix rows_of(const Matrix& all, std::size_t begin, std::size_t count) {
  return Matrix::copy_of(all.view().sub_rows(begin, count));
}

// 1,200 vectors in clusters, and 240 more of the same kind.
const Matrix& data(float spread) {
  static const Matrix overlapping = test::clustered_matrix(kRows + 240, kDim, kClusters, 1.0F, 1),
                      apart = test::clustered_matrix(kRows + 240, kDim, kClusters, 0.05F, 1);
  return spread > 0.5F ? overlapping : apart;
}

Engine refined(const Matrix& vectors, const gnn::RefineOptions& options = {}) {
  BuildOptions build;
  build.metric = Metric::kCosine;
  build.deterministic = true;
  return Engine::build(vectors, {}, build, Executor(2)).refined(options, Executor(2));
}

std::shared_ptr<const GraphSnapshot> grown(const Engine& engine, const Matrix& more,
                                           std::span<const Id> ids) {
  VectorIndex index = VectorIndex::resume(*engine.snapshot(), Executor(1), true);
  index.add(more, ids, Executor(1));
  return index.seal(Executor(1));
}

std::vector<Id> ids_from(Id first, std::size_t count) {
  std::vector<Id> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

// What prepare_refinement() makes of the whole index with the model's heads.
std::shared_ptr<const gnn::RefinementModel> from_scratch(const gnn::RefinementModel& model,
                                                         const GraphSnapshot& snapshot) {
  std::vector<gnn::HeadPlan> plans;
  for (const auto& head : model.parts().heads) {
    plans.push_back({head.name, head.weight, head.content_share, head.projection, head.bars});
  }
  return prepare_refinement(snapshot, model.parts().options, Executor(2), {}, {}, plans);
}

bool same_row(const gnn::RefinementModel& x, std::size_t i, const gnn::RefinementModel& y,
              std::size_t j) {
  for (std::size_t h = 0; h < x.parts().heads.size(); ++h) {
    const auto &a = x.parts().heads[h], &b = y.parts().heads[h];
    if (!std::equal(a.states.row(i), a.states.row(i) + a.states.cols(), b.states.row(j)) ||
        a.states.scale(i) != b.states.scale(j) || a.thresholds[i] != b.thresholds[j] ||
        !std::ranges::equal(a.structure.row(i), b.structure.row(j))) {
      return false;
    }
  }
  const auto edges = [](const gnn::RefinementModel& model, std::size_t row) {
    return std::span(model.parts().edges).subspan(row * gnn::kCoherenceEdges, gnn::kCoherenceEdges);
  };
  return std::ranges::equal(edges(x, i), edges(y, j));
}

void expect_exact_dirty_rows(const gnn::RefineOptions& options) {
  const Engine before = refined(rows_of(data(0.05F), 0, kRows), options);
  const auto snapshot = grown(before, rows_of(data(0.05F), kRows, 3), ids_from(5000, 3));
  const Engine carried = before.with_snapshot(snapshot, Executor(2));
  const auto& dirty = carried.model()->parts().dirty;
  ASSERT_GT(dirty.size(), 3U);
  ASSERT_LT(dirty.size(), kRows / 10);
  const Engine after = carried.recomputed(Executor(2));
  EXPECT_TRUE(after.model()->parts().dirty.empty());
  const auto whole = from_scratch(*before.model(), *snapshot);
  std::size_t untouched = 0;
  for (std::size_t i = 0; i < snapshot->size(); ++i) {
    if (std::binary_search(dirty.begin(), dirty.end(), i)) {
      EXPECT_TRUE(same_row(*after.model(), i, *whole, i)) << i;
    } else {
      EXPECT_TRUE(same_row(*after.model(), i, *carried.model(), i)) << i;
      ++untouched;
    }
  }
  EXPECT_GT(untouched, kRows / 2);
}

// Far clusters and narrow windows: what a few vectors change is a part of the index.
gnn::RefineOptions narrow_windows() {
  gnn::RefineOptions options;
  options.window = 8;
  options.structure.window = 6;
  return options;
}

TEST(RefineUpdate, DirtyRowsBecomeWhatAFullRecomputationMakesOfThem) {
  expect_exact_dirty_rows(narrow_windows());
}

TEST(RefineUpdate, SoTheyDoWhereWindowsKeepAShareOfTheirEntries) {
  gnn::RefineOptions options = narrow_windows();
  options.entries.share = 0.5F;
  expect_exact_dirty_rows(options);
}

TEST(RefineUpdate, EveryRowIsComputedAgainWithTheHeadsBars) {
  gnn::RefineOptions options;
  options.entries.share = 0.5F;
  const Engine before = refined(rows_of(data(1.0F), 0, kRows), options);
  const auto snapshot = grown(before, rows_of(data(1.0F), kRows, 240), ids_from(5000, 240));
  const Engine after = before.with_snapshot(snapshot, Executor(2)).recomputed(Executor(2));
  const auto whole = from_scratch(*before.model(), *snapshot);
  for (std::size_t h = 0; h < whole->parts().heads.size(); ++h) {
    EXPECT_EQ(after.model()->parts().heads[h].bars, before.model()->parts().heads[h].bars);
  }
  for (std::size_t i = 0; i < snapshot->size(); ++i) {
    ASSERT_TRUE(same_row(*after.model(), i, *whole, i)) << i;
  }
}

TEST(RefineUpdate, WhereWalksReachMostOfTheIndexEveryRowIsComputedAgain) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  const auto snapshot = grown(before, rows_of(data(1.0F), kRows, 240), ids_from(5000, 240));
  const Engine after = before.with_snapshot(snapshot, Executor(2)).recomputed(Executor(2));
  const auto whole = from_scratch(*before.model(), *snapshot);
  for (std::size_t i = 0; i < snapshot->size(); ++i) {
    ASSERT_TRUE(same_row(*after.model(), i, *whole, i)) << i;
  }
}

TEST(RefineUpdate, AFullRefineAfterAChangeIsTheSameAsFromScratch) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  const auto snapshot = grown(before, rows_of(data(1.0F), kRows, 50), ids_from(5000, 50));
  const auto once = before.with_snapshot(snapshot, Executor(2)).refined({}, Executor(2)).model();
  const auto anew = Engine(snapshot).refined({}, Executor(2)).model();
  EXPECT_EQ(once->parts().changed, 0U);
  EXPECT_EQ(once->parts().drift, 0.0);
  for (std::size_t i = 0; i < snapshot->size(); ++i) {
    ASSERT_TRUE(same_row(*once, i, *anew, i)) << i;
  }
}

TEST(RefineUpdate, NewVectorsAreJudgedByTheirRawVectorsMeanwhile) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  const Matrix more = rows_of(data(1.0F), kRows, 60);
  const auto snapshot = grown(before, more, ids_from(5000, 60));
  const Engine carried = before.with_snapshot(snapshot, Executor(2));
  EXPECT_TRUE(carried.model()->has_raw());
  QueryOptions options;
  options.k = 1;
  options.refine = RefineMode::kAuto;
  const BatchResults results = carried.search(more, options, Executor(2));
  ASSERT_GT(results.gate, 0.0);
  for (std::size_t q = 0; q < 60; ++q) EXPECT_EQ(results.ids[q], static_cast<Id>(5000 + q));
}

// Mean share of a query's first 40 results that come from its own cluster.
double precision(const Engine& engine) {
  const Matrix q = rows_of(data(1.0F), 600, 240);
  QueryOptions options;
  options.k = 40;
  options.refine = RefineMode::kAuto;
  const BatchResults results = engine.search(q, options, Executor(2));
  double hits = 0;
  for (std::size_t i = 0; i < results.ids.size(); ++i) {
    hits +=
        results.ids[i] % static_cast<Id>(kClusters) == static_cast<Id>((600 + i / 40) % kClusters)
            ? 1
            : 0;
  }
  return hits / static_cast<double>(results.ids.size());
}

TEST(RefineUpdate, QualityStaysNearAFullRefine) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  const auto snapshot = grown(before, rows_of(data(1.0F), kRows, 240), ids_from(kRows, 240));
  const Engine carried = before.with_snapshot(snapshot, Executor(2));
  const double full = precision(Engine(snapshot).refined({}, Executor(2)));
  EXPECT_NEAR(precision(carried.recomputed(Executor(2))), full, 0.01);
  EXPECT_NEAR(precision(carried), full, 0.06);
}

TEST(RefineUpdate, RemovedVectorsLeaveNoTrace) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  LiveOptions live;
  live.background = false;
  live.build.deterministic = true;
  LiveIndex index(before.snapshot(), live);
  std::vector<Id> gone;
  for (Id id = 0; id < 200; ++id) gone.push_back(id * 3);
  index.remove(gone);
  const auto snapshot = index.seal(Executor(1));
  const Engine carried = before.with_snapshot(snapshot, Executor(2));
  EXPECT_EQ(carried.model()->parts().changed, 200U);
  EXPECT_FALSE(carried.model()->has_raw());
  EXPECT_GT(carried.model()->parts().dirty.size(), 200U);
  QueryOptions options;
  options.k = 50;
  options.refine = RefineMode::kAuto;
  const BatchResults results = carried.search(rows_of(data(1.0F), 0, 100), options, Executor(2));
  for (const Id id : results.ids) {
    EXPECT_FALSE(std::binary_search(gone.begin(), gone.end(), id)) << id;
  }
}

TEST(RefineUpdate, AVectorReplacedUnderItsIdIsNew) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  LiveOptions live;
  live.background = false;
  LiveIndex index(before.snapshot(), live);
  const std::vector<Id> ids = {7};
  index.update(rows_of(data(1.0F), kRows, 1), ids);
  const auto snapshot = index.seal(Executor(1));
  const auto model = before.with_snapshot(snapshot, Executor(1)).model();
  EXPECT_EQ(model->parts().changed, 2U);  // one went, one came
  EXPECT_TRUE(model->is_raw(*snapshot->find(7)));
}

TEST(RefineUpdate, DriftSaysHowFarTheMeanHasMoved) {
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  Matrix shifted = rows_of(data(1.0F), kRows, 240);
  for (std::size_t i = 0; i < 240; ++i) shifted.row(i)[0] += 20.0F;
  const auto near = before.with_snapshot(
      grown(before, rows_of(data(1.0F), kRows, 240), ids_from(5000, 240)), Executor(1));
  const auto far = before.with_snapshot(grown(before, shifted, ids_from(5000, 240)), Executor(1));
  EXPECT_LT(near.model()->parts().drift, 0.05);
  EXPECT_GT(far.model()->parts().drift, 0.1);
}

TEST(RefineUpdate, RefusesWhatDoesNotBelongTogether) {
  const Engine before = refined(rows_of(data(1.0F), 0, 300));
  const Engine other = refined(rows_of(data(1.0F), 0, 200));
  test::expect_error(ErrorCode::kModelMismatch, "cannot follow", [&] {
    carry_refinement(*before.model(), *other.snapshot(), *other.snapshot(), Executor(1));
  });
  test::expect_error(ErrorCode::kModelMismatch, "300",
                     [&] { recompute_dirty(*before.model(), *other.snapshot(), Executor(1)); });
  test::expect_error(ErrorCode::kNotPrepared, "never refined",
                     [&] { Engine(before.snapshot()).recomputed(Executor(1)); });
  test::expect_error(ErrorCode::kInvalidArgument, "snapshot",
                     [&] { before.with_snapshot(nullptr, Executor(1)); });
}

TEST(RefineUpdate, AFileKeepsWhatWaits) {
  const test::TemporaryFolder folder;
  const Engine before = refined(rows_of(data(1.0F), 0, kRows));
  const auto snapshot = grown(before, rows_of(data(1.0F), kRows, 30), ids_from(5000, 30));
  const Engine carried = before.with_snapshot(snapshot, Executor(2));
  carried.save(folder / "index");
  const Engine loaded = Engine::load(folder / "index");
  EXPECT_EQ(loaded.model()->parts().dirty, carried.model()->parts().dirty);
  EXPECT_EQ(loaded.model()->parts().changed, 30U);
  EXPECT_EQ(loaded.model()->parts().drift, carried.model()->parts().drift);
  EXPECT_TRUE(loaded.model()->has_raw());
}

}  // namespace
}  // namespace halo
