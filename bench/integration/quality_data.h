// A folder with vectors, queries and what is relevant to them, ready to be searched by cosine.
// Thread-safety: free functions and values.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <vector>

#include "halo/core/matrix_view.h"
#include "halo/index/graph_snapshot.h"
#include "halo/integration/eval/metrics.h"

namespace halo::bench {

struct QualityData {
  std::string name;
  Matrix base;          ///< of unit length, without vectors of length 0 (docs/decisions/0002)
  std::vector<Id> ids;  ///< a row of `base`: its row in the file
  Matrix queries;       ///< of unit length
  Relevance relevance;  ///< by ids; vectors left out still count as relevant
};

/// base.npy, queries.npy and either base_labels.npy with query_labels.npy (relevant = same label)
/// or qrels.txt (relevant = judged above 0); the first `max_queries` queries, all for 0. Throws
/// halo::Error as the readers do, kInvalidArgument where the files do not fit each other.
QualityData load_quality_data(const std::filesystem::path& folder, std::size_t max_queries);

}  // namespace halo::bench
