// Counters of the service, as Prometheus reads them.
//
// Thread-safety: everything may be called from any number of threads.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "halo/integration/engine.h"

namespace halo::service {

/// What requests are counted under.
enum class Route : std::uint8_t { kSearch, kWrite, kRead, kAdmin, kProbe, kPage, kOther, kCount };

class ServiceMetrics : public SearchObserver {
 public:
  void answered(Route route, int status, double seconds) noexcept;
  void searched(const QueryOptions& options, const BatchResults& results) noexcept override;
  void failed(const QueryOptions& options, ErrorCode code) noexcept override;

  std::atomic<std::int64_t> connections{0};
  std::atomic<std::uint64_t> refused_connections{0};
  std::atomic<std::uint64_t> refused_requests{0};  ///< the queue was full

  /// The text format, version 0.0.4.
  std::string text() const;

 private:
  static constexpr std::array<double, 14> kBounds = {.0001, .00025, .0005, .001, .0025, .005, .01,
                                                     .025,  .05,    .1,    .25,  .5,    1,    10};
  struct PerRoute {
    std::array<std::atomic<std::uint64_t>, 6> by_class{};  // of the status: 1xx ... 5xx
    std::array<std::atomic<std::uint64_t>, kBounds.size() + 1> buckets{};
    std::atomic<std::uint64_t> nanoseconds{0};
  };
  std::array<PerRoute, static_cast<std::size_t>(Route::kCount)> routes_;
  std::atomic<std::uint64_t> queries_{0}, partial_queries_{0}, failed_searches_{0};
  std::atomic<std::uint64_t> search_nanoseconds_{0}, refine_nanoseconds_{0};
};

}  // namespace halo::service
