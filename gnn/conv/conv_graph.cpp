#include "halo/gnn/conv/conv_graph.h"

#include <utility>

#include "halo/core/error.h"

namespace halo::gnn {

ConvGraph::ConvGraph(const CsrView& mask, bool add_self_loops) {
  validate(mask);
  if (mask.rows() != mask.num_columns) {
    throw Error(ErrorCode::kInvalidArgument, "convolution: the mask is not square");
  }
  std::vector<std::vector<std::uint32_t>> rows(mask.rows());
  for (std::size_t i = 0; i < mask.rows(); ++i) {
    rows[i].assign(mask.row(i).begin(), mask.row(i).end());
    if (add_self_loops) rows[i].push_back(static_cast<std::uint32_t>(i));
  }
  mask_ = CsrMask::from_rows(std::move(rows), mask.num_columns);
  transposed_ = mask_.transposed();
  // Rows are visited in order, so each column's entries are met in the order they are stored.
  std::vector<std::uint64_t> next(transposed_.row_offsets().begin(),
                                  transposed_.row_offsets().end());
  edge_of_.resize(mask_.entries());
  for (std::uint64_t e = 0; e < mask_.entries(); ++e) edge_of_[next[mask_.columns()[e]]++] = e;
}

}  // namespace halo::gnn
