#include "halo/index/metric.h"

#include <string>

#include "halo/core/error.h"
#include "halo/index/detail/metric_distance.h"

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

void check_vectors(Metric metric, const MatrixView& vectors) {
  Matrix stored(1, vectors.cols);
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    detail::store_row(metric, vectors.row(i), vectors.cols, "vector", i, stored.row(0));
  }
}

}  // namespace halo
