#include "halo/integration/cli/query_options.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo::cli {
namespace {

TEST(QueryOptionsTest, NamesOfModesGoBothWays) {
  for (const RefineMode mode : {RefineMode::kOff, RefineMode::kAuto}) {
    EXPECT_EQ(parse_refine_mode(refine_mode_name(mode)), mode);
  }
  test::expect_error(ErrorCode::kInvalidArgument, "\"best\"", [] { parse_refine_mode("best"); });
}

TEST(QueryOptionsTest, SpeedAndLatency) {
  BatchResults results;
  results.found = {10, 10, 10};
  results.wall_seconds = 0.5;
  EXPECT_DOUBLE_EQ(queries_per_second(results), 6);
  results.wall_seconds = 0;
  EXPECT_GT(queries_per_second(results), 0);  // finite, whatever the clock says
  const LatencySummary latency{0.001, 0.002, 0.2, 0.003};
  EXPECT_EQ(describe(latency), "p50 1.00 ms, p95 2.00 ms, p99 0.20 s");
  EXPECT_EQ(latency_facts(latency).dump(), R"({"p50":0.001,"p95":0.002,"p99":0.2,"mean":0.003})");
}

}  // namespace
}  // namespace halo::cli
