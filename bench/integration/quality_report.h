// What bench_quality found, as tables and as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include <ostream>
#include <string>
#include <vector>

#include "quality_methods.h"

namespace halo::bench {

struct SetResult {
  std::string name;
  std::size_t vectors = 0, queries = 0;
  std::vector<MethodResult> methods;  ///< plain first
  double gate = 0;                    ///< of auto
};

/// A table a set: every method's means in per cent and, with its paired-bootstrap 95% interval, the
/// difference to plain; then the averages over the sets and auto's lead over the best baseline.
void print_tables(const std::vector<SetResult>& sets, std::ostream& out);

/// The same figures, as shares of 1.
nlohmann::ordered_json facts_of(const std::vector<SetResult>& sets);

}  // namespace halo::bench
