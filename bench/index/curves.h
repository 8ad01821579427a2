// Recall-QPS curves: what is read off them at a given recall.
#pragma once

#include <map>
#include <ostream>
#include <string>
#include <vector>

namespace halo::bench {

struct CurvePoint {
  double recall = 0;
  double qps = 0;
};
/// By ef, ascending.
using Curve = std::map<std::size_t, CurvePoint>;

/// Queries per second at `recall`, log-linear between the neighbouring points; the first point's
/// where the curve begins above it; 0 where it never gets there.
double qps_at(const Curve& curve, double recall);

/// One table a data set and thread count: QPS at recall .90, .95, .99 and .998 and the ratio to
/// hnswlib. Keys: "<data set>/threads:<t>", then the library.
void print_summary(const std::map<std::string, std::map<std::string, Curve>>& sets,
                   std::ostream& out);

}  // namespace halo::bench
