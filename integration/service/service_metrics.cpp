#include "halo/integration/service/service_metrics.h"

#include <algorithm>
#include <sstream>
#include <string_view>

namespace halo::service {
namespace {

constexpr double kNano = 1e9;
constexpr std::string_view kNames[] = {"search", "write", "read", "admin",
                                       "probe",  "page",  "other"};

std::uint64_t nanoseconds(double seconds) {
  return static_cast<std::uint64_t>(std::max(seconds, 0.0) * kNano);
}

void head(std::ostream& out, std::string_view name, std::string_view type, std::string_view help) {
  out << "# HELP " << name << ' ' << help << "\n# TYPE " << name << ' ' << type << '\n';
}

}  // namespace

void ServiceMetrics::answered(Route route, int status, double seconds) noexcept {
  PerRoute& counts = routes_[static_cast<std::size_t>(route)];
  ++counts.by_class[static_cast<std::size_t>(std::clamp(status / 100, 1, 5))];
  const auto bucket = std::lower_bound(kBounds.begin(), kBounds.end(), seconds) - kBounds.begin();
  ++counts.buckets[static_cast<std::size_t>(bucket)];
  counts.nanoseconds += nanoseconds(seconds);
}

void ServiceMetrics::searched(const QueryOptions& /*options*/,
                              const BatchResults& results) noexcept {
  queries_ += results.found.size();
  search_nanoseconds_ += nanoseconds(results.search_seconds);
  refine_nanoseconds_ += nanoseconds(results.refine_seconds);
  if (!results.partial) return;
  partial_queries_ += static_cast<std::uint64_t>(
      std::count_if(results.answers.begin(), results.answers.end(),
                    [](Answer answer) { return answer != Answer::kWhole; }));
}

void ServiceMetrics::failed(const QueryOptions& /*options*/, ErrorCode /*code*/) noexcept {
  ++failed_searches_;
}

std::string ServiceMetrics::text() const {
  std::ostringstream out;
  head(out, "halo_requests_total", "counter", "Requests answered, by route and class of status.");
  for (std::size_t r = 0; r < routes_.size(); ++r) {
    for (std::size_t c = 2; c < routes_[r].by_class.size(); ++c) {
      out << "halo_requests_total{route=\"" << kNames[r] << "\",status=\"" << c << "xx\"} "
          << routes_[r].by_class[c] << '\n';
    }
  }
  head(out, "halo_request_seconds", "histogram",
       "Time from a request's end of headers to its answer.");
  for (std::size_t r = 0; r < routes_.size(); ++r) {
    std::uint64_t sum = 0;
    for (std::size_t b = 0; b < routes_[r].buckets.size(); ++b) {
      sum += routes_[r].buckets[b];
      out << "halo_request_seconds_bucket{route=\"" << kNames[r] << "\",le=\"";
      if (b < kBounds.size()) {
        out << kBounds[b];
      } else {
        out << "+Inf";
      }
      out << "\"} " << sum << '\n';
    }
    out << "halo_request_seconds_sum{route=\"" << kNames[r] << "\"} "
        << static_cast<double>(routes_[r].nanoseconds) / kNano << '\n'
        << "halo_request_seconds_count{route=\"" << kNames[r] << "\"} " << sum << '\n';
  }
  const auto counter = [&](std::string_view name, std::string_view help, double value) {
    head(out, name, "counter", help);
    out << name << ' ' << value << '\n';
  };
  counter("halo_queries_total", "Queries searched.", static_cast<double>(queries_));
  counter("halo_partial_queries_total", "Queries that a deadline cut.",
          static_cast<double>(partial_queries_));
  counter("halo_failed_searches_total", "Searches refused or failed.",
          static_cast<double>(failed_searches_));
  counter("halo_search_seconds_total", "Time spent in graph search.",
          static_cast<double>(search_nanoseconds_) / kNano);
  counter("halo_refine_seconds_total", "Time spent in refinement.",
          static_cast<double>(refine_nanoseconds_) / kNano);
  counter("halo_refused_requests_total", "Requests refused because the queue was full.",
          static_cast<double>(refused_requests));
  counter("halo_refused_connections_total", "Connections refused because there were too many.",
          static_cast<double>(refused_connections));
  head(out, "halo_connections", "gauge", "Open connections.");
  out << "halo_connections " << connections << '\n';
  return out.str();
}

}  // namespace halo::service
