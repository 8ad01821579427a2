// The data that benchmarks run on: Fashion-MNIST where Debian's dataset-fashion-mnist is installed,
// seeded clusters otherwise.
#pragma once

#include <string>

#include "halo/core/matrix_view.h"

namespace halo::bench {

struct DataSet {
  std::string name;
  Matrix vectors;
  Matrix queries;
};

/// At most `max_queries` queries, never among the vectors.
DataSet load_data_set(std::size_t max_queries);

}  // namespace halo::bench
