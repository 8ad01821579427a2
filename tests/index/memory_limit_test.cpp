// BuildOptions::memory_limit: what is refused leaves everything as it was, and what is let through
// never takes more than the limit.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "halo/index/live_index.h"
#include "halo/index/memory_estimate.h"
#include "index/index_fixtures.h"
#include "index/live_fixtures.h"
#include "support/failing_allocator.h"

namespace halo {
namespace {

using test::expect_error;
using test::MeasuredMemory;
using test::state_hash;

std::vector<Id> ids_from(Id first, std::size_t count) {
  std::vector<Id> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

struct Shape {
  std::size_t dim, M;
  std::optional<CodeKind> codes;
};

// Bytes differ by codes, by M and by the share of the vectors in them.
const Shape kShapes[] = {{64, 8, CodeKind::kF32},
                         {64, 16, CodeKind::kInt8},
                         {200, 4, CodeKind::kBf16},
                         {40, 2, std::nullopt}};

BuildOptions build_of(const Shape& shape) {
  BuildOptions build = test::build_options(Metric::kL2);
  build.M = shape.M;
  build.codes = shape.codes;
  build.ef_construction = 8;
  return build;
}

TEST(MemoryLimit, GrowthIsBounded) {
  const Executor executor(1);
  for (const Shape& shape : kShapes) {
    const Matrix data = test::clustered_matrix(12000, shape.dim, 30, 0.7F, 1);
    const BuildOptions build = build_of(shape);
    std::size_t bound = 0;
    const MeasuredMemory memory;
    VectorIndex index(shape.dim, build);
    std::size_t capacity = 0;
    for (std::size_t size = 0; size < 12000; size += 2400) {
      bound = std::max(bound, estimate_growth(size, capacity, 2400, shape.dim, build));
      index.add(data.view().sub_rows(size, 2400), executor);
      const auto sealed = index.seal(executor);
      capacity = size + 2400 > capacity ? std::max(size + 2400, capacity * 3 / 2) : capacity;
      EXPECT_LE(memory.peak(), bound) << shape.dim << " " << shape.M << " at " << size;
    }
    // A bound that says anything.
    EXPECT_GE(2.5 * static_cast<double>(memory.peak()), static_cast<double>(bound))
        << shape.dim << " " << shape.M;
  }
}

TEST(MemoryLimit, AnAddBeyondItChangesNothing) {
  const Executor executor(1);
  for (const Shape& shape : kShapes) {
    const Matrix data = test::clustered_matrix(12000, shape.dim, 30, 0.7F, 2);
    BuildOptions build = build_of(shape);
    build.memory_limit = estimate_growth(0, 0, 6000, shape.dim, build);
    VectorIndex index(shape.dim, build);
    const MeasuredMemory memory;
    expect_error(ErrorCode::kMemoryLimit, "the limit is", [&] { index.add(data, executor); });
    EXPECT_EQ(index.size(), 0U);
    // Refused before anything of that size was allocated.
    EXPECT_LE(memory.peak(), 20000U);
    index.add(data.view().sub_rows(0, 6000), executor);
    const std::uint64_t before = state_hash(index);
    expect_error(ErrorCode::kMemoryLimit, "the limit is",
                 [&] { index.add(data.view().sub_rows(6000, 1000), executor); });
    EXPECT_EQ(index.size(), 6000U);
    EXPECT_FALSE(index.contains(6000));
    EXPECT_EQ(state_hash(index), before);
    EXPECT_LE(memory.peak(), build.memory_limit);
  }
}

TEST(MemoryLimit, ALiveIndexStaysWithinIt) {
  const Executor executor(1);
  for (const Shape& shape : kShapes) {
    const Matrix data = test::clustered_matrix(12000, shape.dim, 30, 0.7F, 3);
    LiveOptions options = test::live_options();
    options.build = build_of(shape);
    options.build.memory_limit = estimate_growth(0, 0, 12000, shape.dim, options.build);
    const MeasuredMemory memory;
    LiveIndex index(shape.dim, options);
    std::size_t added = 0, refused = 0;
    for (std::size_t i = 0; i + 200 <= 12000; i += 200) {
      const std::vector<Id> ids = ids_from(static_cast<Id>(i), 200);
      const std::size_t size = index.size();
      try {
        index.add(data.view().sub_rows(i, 200), ids);
        added += 200;
        EXPECT_EQ(index.size(), size + 200);
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kMemoryLimit);
        EXPECT_EQ(index.size(), size);
        EXPECT_FALSE(index.contains(ids.front()));
        ++refused;
      }
      if (i % 2000 == 1800) index.seal(executor);
    }
    EXPECT_GT(added, 600U) << shape.dim;
    EXPECT_GT(refused, 10U) << shape.dim;
    EXPECT_LE(memory.peak(), options.build.memory_limit) << shape.dim;
    // What goes makes room, once it is sealed away.
    std::vector<Id> half;
    for (Id id = 0; half.size() < added / 2; ++id) {
      if (index.contains(id)) half.push_back(id);
    }
    index.remove(half);
    index.seal(executor);
    index.add(data.view().sub_rows(0, 50), ids_from(10000, 50));
    index.update(data.view().sub_rows(50, 50), ids_from(10000, 50));
    index.seal(executor);
    EXPECT_LE(memory.peak(), options.build.memory_limit) << shape.dim;
  }
}

TEST(MemoryLimit, ASnapshotBeyondItIsRefused) {
  const auto snapshot = test::snapshot_of(test::random_matrix(500, 16, 4));
  LiveOptions options = test::live_options();
  options.build.memory_limit = 50000;
  expect_error(ErrorCode::kMemoryLimit, "this index would take up to",
               [&] { LiveIndex(snapshot, options); });
  options.build.memory_limit = 10000000;
  EXPECT_EQ(LiveIndex(snapshot, options).size(), 500U);
}

TEST(MemoryLimit, WhatCannotBeAddedUpIsRefused) {
  expect_error(ErrorCode::kOutOfMemory, "more memory than can be addressed", [] {
    estimate_growth(0, 0, std::numeric_limits<std::size_t>::max() / 32, 784, {});
  });
}

}  // namespace
}  // namespace halo
