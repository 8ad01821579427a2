#include "halo/integration/service/service_metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace halo::service {
namespace {

TEST(ServiceMetrics, CountsInPrometheusText) {
  ServiceMetrics metrics;
  metrics.answered(Route::kSearch, 200, 0.0003);
  metrics.answered(Route::kSearch, 200, 0.3);
  metrics.answered(Route::kSearch, 404, 100.0);
  BatchResults results;
  results.found = {3, 0};
  results.answers = {Answer::kWhole, Answer::kNone};
  results.partial = true;
  results.search_seconds = 0.5;
  metrics.searched({}, results);
  const std::string text = metrics.text();
  for (const char* line :
       {"halo_requests_total{route=\"search\",status=\"2xx\"} 2\n",
        "halo_requests_total{route=\"search\",status=\"4xx\"} 1\n",
        "halo_request_seconds_bucket{route=\"search\",le=\"0.0005\"} 1\n",
        "halo_request_seconds_bucket{route=\"search\",le=\"0.5\"} 2\n",
        "halo_request_seconds_bucket{route=\"search\",le=\"+Inf\"} 3\n",
        "halo_request_seconds_count{route=\"search\"} 3\n", "halo_queries_total 2\n",
        "halo_partial_queries_total 1\n", "halo_search_seconds_total 0.5\n"}) {
    EXPECT_THAT(text, testing::HasSubstr(line));
  }
}

}  // namespace
}  // namespace halo::service
