#include "halo/index/metric.h"

#include <gtest/gtest.h>

#include "support/test_support.h"

namespace halo {
namespace {

TEST(Metric, NamesRoundTrip) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    EXPECT_EQ(parse_metric(metric_name(metric)), metric);
  }
  EXPECT_EQ(metric_name(Metric::kL2), "l2");
  EXPECT_EQ(metric_name(Metric::kInnerProduct), "ip");
  EXPECT_EQ(metric_name(Metric::kCosine), "cosine");
}

TEST(Metric, NumbersAreThoseOfTheFiles) {
  EXPECT_EQ(static_cast<int>(Metric::kL2), 1);
  EXPECT_EQ(static_cast<int>(Metric::kInnerProduct), 2);
  EXPECT_EQ(static_cast<int>(Metric::kCosine), 3);
}

TEST(Metric, RefusesAnyOtherName) {
  for (const char* name : {"", "L2", "euclid", "cosine "}) {
    test::expect_error(ErrorCode::kInvalidArgument, "none of l2, ip, cosine",
                       [&] { parse_metric(name); });
  }
}

}  // namespace
}  // namespace halo
