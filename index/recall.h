// Recall of approximate results against exact ones.
#pragma once

#include "halo/index/snapshot_search.h"

namespace halo {

/// Mean over queries of |found in the first k of both| / min(k, exact results), the measure of
/// ann-benchmarks.
double recall_at(std::size_t k, const SearchResults& found, const SearchResults& exact);

}  // namespace halo
