// The soak in seconds; scripts/soak runs it for minutes.
#include "soak/churn.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

#include "support/test_support.h"

namespace halo::test {
namespace {

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#elif defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

class Churn : public ::testing::TestWithParam<Metric> {};

TEST_P(Churn, EightThreadsWearNothingOut) {
  const TemporaryFolder folder;
  ChurnOptions options;
  options.metric = GetParam();
  options.folder = folder.path();
  options.dim = 128;
  options.clusters = 40;
  options.live = kSanitized ? 800 : 3200;
  options.operations = kSanitized ? 150 : 1100;
  options.checkpoints = 6;
  const ChurnReport report = churn(options);
  EXPECT_EQ(report.wrong, 0U) << report.first_wrong;
  EXPECT_EQ(report.unreachable, 0U);
  EXPECT_EQ(report.failed_seals, 0U);
  EXPECT_LE(static_cast<double>(report.own_missed),
            0.01 * static_cast<double>(report.own_searches));
  EXPECT_LE(static_cast<double>(report.live_missed), 0.01 * static_cast<double>(options.live));
  EXPECT_GT(report.recall_unsealed, report.recall_rebuilt - 0.02);
  EXPECT_GT(report.recall_sealed, report.recall_rebuilt - 0.02);
  // A sanitizer's allocator does not say what is in use, and glibc's only without its caches.
  if (!kSanitized && std::getenv("GLIBC_TUNABLES") != nullptr) {
    ASSERT_GE(report.checkpoints.size(), 3U);
    EXPECT_GT(report.checkpoints.back().saves, 3U);
    EXPECT_LT(report.memory_drift(), 0.02) << [&] {
      std::string in_use;
      for (const Checkpoint& at : report.checkpoints) in_use += std::to_string(at.in_use) + " ";
      return in_use;
    }();
  }
}

INSTANTIATE_TEST_SUITE_P(Metrics, Churn, ::testing::Values(Metric::kL2, Metric::kCosine),
                         [](const auto& test) { return std::string(metric_name(test.param)); });

}  // namespace
}  // namespace halo::test
