#include "halo/index/metric.h"

#include <string>

#include "halo/core/error.h"

namespace halo {

std::string_view metric_name(Metric metric) noexcept {
  switch (metric) {
    case Metric::kL2:
      return "l2";
    case Metric::kInnerProduct:
      return "ip";
    case Metric::kCosine:
      return "cosine";
  }
  return "unknown";
}

Metric parse_metric(std::string_view name) {
  for (const Metric metric : {Metric::kL2, Metric::kInnerProduct, Metric::kCosine}) {
    if (metric_name(metric) == name) return metric;
  }
  throw Error(ErrorCode::kInvalidArgument,
              "metric \"" + std::string(name) + "\" is none of l2, ip, cosine");
}

}  // namespace halo
