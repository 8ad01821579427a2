#include "halo/index/memory_estimate.h"

#include <gtest/gtest.h>
#include <malloc.h>

#include <limits>

#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;

TEST(MemoryEstimate, BoundsWhatASnapshotHolds) {
  const Matrix data = test::clustered_matrix(6000, 40, 50, 0.8F, 1);
  for (const std::optional<CodeKind> codes :
       {std::optional<CodeKind>(), std::optional(CodeKind::kInt8),
        std::optional(CodeKind::kBf16)}) {
    for (const std::size_t M : {2U, 8U, 32U}) {
      BuildOptions options = test::build_options(Metric::kL2);
      options.M = M;
      options.codes = codes;
      const auto snapshot = test::snapshot_of(data, options);
      const GraphSnapshot::MemoryUsage usage = snapshot->memory_usage();
      const MemoryEstimate estimate = estimate_memory(6000, 40, options);
      EXPECT_EQ(estimate.vectors, usage.vectors);
      EXPECT_EQ(estimate.codes, usage.codes);
      EXPECT_EQ(estimate.ids, usage.ids);
      EXPECT_GE(estimate.links, usage.links) << M;
      EXPECT_LE(estimate.links, 4 * usage.links) << M;
      EXPECT_GE(estimate.other + 1024, usage.other) << M;
      EXPECT_LE(estimate.other, usage.other + usage.other / 2) << M;
    }
  }
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
TEST(MemoryEstimate, BoundsWhatBuildingTakes) {
  const Matrix data = test::clustered_matrix(6000, 40, 50, 0.8F, 2);
  const auto heap = [] {
    const struct mallinfo2 info = mallinfo2();
    return info.uordblks + info.hblkhd;
  };
  for (const CodeKind codes : {CodeKind::kF32, CodeKind::kInt8}) {
    BuildOptions options = test::build_options(Metric::kL2);
    options.codes = codes;
    const Executor executor(1);
    const std::size_t before = heap();
    VectorIndex index(40, options);
    index.add(data, executor);
    const std::size_t built = heap() - before;
    const MemoryEstimate estimate = estimate_memory(6000, 40, options);
    EXPECT_LE(built, estimate.building);
    EXPECT_GE(2 * built, estimate.building);
  }
}
#endif

TEST(MemoryEstimate, CountsCodesWhereTheIndexMayChooseThem) {
  EXPECT_EQ(estimate_memory(9999, 784, {}).codes, 0U);
  EXPECT_EQ(estimate_memory(60000, 784, {}).codes, 60000U * 832);
  EXPECT_GT(estimate_memory(60000, 784, {}).peak(), estimate_memory(60000, 784, {}).sealed());
  EXPECT_EQ(estimate_memory(0, 8, {}).vectors, 0U);
}

TEST(MemoryEstimate, RefusesWhatCannotBe) {
  expect_error(ErrorCode::kInvalidArgument, "dimension is 0", [] { estimate_memory(1, 0, {}); });
  expect_error(ErrorCode::kInvalidArgument, "dimension is 65537",
               [] { estimate_memory(1, 65537, {}); });
  BuildOptions options;
  options.M = 1;
  expect_error(ErrorCode::kInvalidArgument, "M is 1", [&] { estimate_memory(1, 8, options); });
  expect_error(ErrorCode::kOutOfMemory, "more memory than can be addressed",
               [] { estimate_memory(std::numeric_limits<std::size_t>::max() / 8, 784, {}); });
}

}  // namespace
}  // namespace halo
