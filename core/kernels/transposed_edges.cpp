#include "halo/core/kernels/transposed_edges.h"

namespace halo::kernels {

TransposedEdges transposed_edges(const CsrView& mask) {
  TransposedEdges t;
  t.offsets.assign(mask.num_columns + 1, 0);
  t.places.resize(mask.entries());
  t.rows.resize(mask.entries());
  t.in_slab.resize(mask.entries());
  for (const std::uint32_t column : mask.columns) ++t.offsets[column + 1];
  for (std::size_t j = 0; j < mask.num_columns; ++j) t.offsets[j + 1] += t.offsets[j];
  std::vector<std::uint64_t> next(t.offsets.begin(), t.offsets.end() - 1);
  for (std::size_t i = 0; i < mask.rows(); ++i) {
    for (std::uint64_t e = mask.row_offsets[i]; e < mask.row_offsets[i + 1]; ++e) {
      const std::uint64_t at = next[mask.columns[e]]++;
      t.places[at] = e;  // the entry, for now
      t.rows[at] = static_cast<std::uint32_t>(i);
    }
  }
  // The next place of every slab, while columns are walked in order.
  std::vector<std::uint64_t> free;
  for (std::size_t i = 0; i < mask.rows(); i += TransposedEdges::kSlab) {
    free.push_back(mask.row_offsets[i]);
  }
  for (std::size_t x = 0; x < t.places.size(); ++x) {
    const std::size_t slab = t.rows[x] / TransposedEdges::kSlab;
    const std::uint64_t place = free[slab]++;
    t.in_slab[t.places[x]] =
        static_cast<std::uint32_t>(place - mask.row_offsets[slab * TransposedEdges::kSlab]);
    t.places[x] = place;
  }
  return t;
}

}  // namespace halo::kernels
