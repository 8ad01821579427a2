#include "halo/attention/hnsw_mask.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>

#include "halo/attention/sparse_mask.h"
#include "halo/core/error.h"

namespace halo::attention {

CsrMask LayerMask::to_csr(std::uint64_t max_entries) const {
  if (entries_ > max_entries) {
    throw Error(ErrorCode::kInvalidArgument,
                "layer mask: " + std::to_string(entries_) + " entries over " +
                    std::to_string(rows()) + " nodes are more than the limit of " +
                    std::to_string(max_entries) +
                    "; leave layer 0 out, or use the mask without storing it");
  }
  std::vector<std::uint64_t> offsets{0};
  offsets.reserve(rows() + 1);
  std::vector<std::uint32_t> columns;
  columns.reserve(entries_);
  for (std::size_t i = 0; i < rows(); ++i) {
    columns.insert(columns.end(), row(i).begin(), row(i).end());
    offsets.push_back(columns.size());
  }
  return {std::move(offsets), std::move(columns), num_columns()};
}

LayerMask HnswMask::from_layers(std::size_t n,
                                std::span<const std::span<const std::uint32_t>> layers) {
  if (n > std::size_t{std::numeric_limits<std::uint32_t>::max()}) {
    throw Error(ErrorCode::kInvalidArgument,
                "layer mask: " + std::to_string(n) + " nodes are more than 32 bits can number");
  }
  LayerMask mask;
  mask.lists_.resize(layers.size() + 1);
  mask.list_of_node_.assign(n, static_cast<std::uint32_t>(layers.size()));
  // From the top down: a layer's list is its own nodes and the list of the layer above, and the
  // last layer to claim a node is the lowest one that holds it.
  for (std::size_t l = layers.size(); l-- > 0;) {
    const std::vector<std::uint32_t> own =
        checked_indices(layers[l], n, "layer mask: layer " + std::to_string(l));
    const std::vector<std::uint32_t>& above = mask.lists_[l + 1];
    std::set_union(own.begin(), own.end(), above.begin(), above.end(),
                   std::back_inserter(mask.lists_[l]));
    for (const std::uint32_t node : own) mask.list_of_node_[node] = static_cast<std::uint32_t>(l);
  }
  for (std::size_t i = 0; i < n; ++i) mask.entries_ += mask.row(i).size();
  return mask;
}

LayerMask HnswMask::from_layers(std::size_t n,
                                const std::vector<std::vector<std::uint32_t>>& layers) {
  const std::vector<std::span<const std::uint32_t>> spans(layers.begin(), layers.end());
  return from_layers(n, spans);
}

CsrMask HnswMask::from_edges(std::size_t n, std::span<const Edge> edges, bool bidirectional) {
  std::vector<Edge> pairs;
  pairs.reserve(edges.size() * (bidirectional ? 2 : 1));
  for (const auto& [from, to] : edges) {
    if (from >= n || to >= n) {
      throw Error(ErrorCode::kInvalidArgument, "mask: edge (" + std::to_string(from) + ", " +
                                                   std::to_string(to) + ") leaves a graph of " +
                                                   std::to_string(n) + " nodes");
    }
    pairs.emplace_back(from, to);
    if (bidirectional) pairs.emplace_back(to, from);
  }
  return CsrMask::from_pairs(n, n, pairs);
}

CsrMask HnswMask::from_edges(const CsrView& links) {
  if (links.rows() != links.num_columns) {
    throw Error(ErrorCode::kDimensionMismatch,
                "mask: links of " + std::to_string(links.rows()) + " rows over " +
                    std::to_string(links.num_columns) + " nodes are not a graph's");
  }
  const CsrMask forward({links.row_offsets.begin(), links.row_offsets.end()},
                        {links.columns.begin(), links.columns.end()}, links.num_columns);
  return CsrMask::union_of(forward, forward.transposed());
}

CsrMask HnswMask::adaptive(std::size_t n, std::size_t window, std::span<const Edge> edges) {
  return CsrMask::union_of(SparseMask::local_window(n, window), from_edges(n, edges));
}

CsrMask HnswMask::adaptive(std::size_t window, const CsrView& links) {
  return CsrMask::union_of(from_edges(links), SparseMask::local_window(links.rows(), window));
}

}  // namespace halo::attention
