// The order in which a batch of queries is searched for: those whose ways down to layer 0 end near
// each other follow one another, so that the vectors and links which one walk read are still in the
// cache for the next. Nodes are numbered so that neighbours are near (node_order.h), which is what
// makes node numbers tell what is near.
//
// Thread-safety: immutable once made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo {

class BatchOrder {
 public:
  /// `queries` [n, dim], checked already. A few queries, and those of a filter that is answered
  /// without a walk, keep their order. The results of a search do not depend on it. O(n log(index
  /// size) M dim), which the searches then save.
  BatchOrder(const GraphSnapshot& snapshot, const MatrixView& queries, const SearchOptions& options,
             const Executor& executor, const Job& job = {});

  /// The query to search for as the i-th.
  std::size_t query(std::size_t i) const { return order_.empty() ? i : order_[i]; }
  /// Where the walk for `query` on layer 0 begins: kNoNode where nobody looked.
  Node start(std::size_t query) const { return starts_.empty() ? kNoNode : starts_[query]; }

 private:
  std::vector<std::uint32_t> order_;
  std::vector<Node> starts_;
};

}  // namespace halo
