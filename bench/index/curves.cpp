#include "curves.h"

#include <cmath>
#include <cstdio>

namespace halo::bench {

double qps_at(const Curve& curve, double recall) {
  const CurvePoint* before = nullptr;
  for (const auto& [ef, point] : curve) {
    if (point.recall >= recall) {
      if (before == nullptr || point.recall == before->recall) return point.qps;
      const double share = (recall - before->recall) / (point.recall - before->recall);
      return std::exp((1 - share) * std::log(before->qps) + share * std::log(point.qps));
    }
    before = &point;
  }
  return 0;
}

void print_summary(const std::map<std::string, std::map<std::string, Curve>>& sets,
                   std::ostream& out) {
  constexpr double kRecalls[] = {0.90, 0.95, 0.99, 0.998};
  for (const auto& [set, curves] : sets) {
    char line[128];
    std::snprintf(line, sizeof line, "\n%-36s", set.c_str());
    out << line;
    for (const double recall : kRecalls) {
      std::snprintf(line, sizeof line, "   QPS at %.3f", recall);
      out << line;
    }
    out << '\n';
    const auto peer = curves.find("hnswlib");
    for (const auto& [library, curve] : curves) {
      std::snprintf(line, sizeof line, "  %-34s", library.c_str());
      out << line;
      for (const double recall : kRecalls) {
        const double qps = qps_at(curve, recall);
        const double theirs = peer == curves.end() ? 0 : qps_at(peer->second, recall);
        if (qps == 0) {
          std::snprintf(line, sizeof line, "%15s", "-");
        } else if (theirs == 0) {
          std::snprintf(line, sizeof line, "%15.0f", qps);
        } else {
          std::snprintf(line, sizeof line, "%8.0f (%.2fx)", qps, qps / theirs);
        }
        out << line;
      }
      out << '\n';
    }
  }
}

}  // namespace halo::bench
