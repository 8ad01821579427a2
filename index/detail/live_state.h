// One moment of a live index: what is sealed, what waits in the delta, and what of both is removed.
//
// Thread-safety: immutable once published (core/published.h). Private to the index room.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "halo/index/detail/bits.h"
#include "halo/index/detail/delta_graph.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {

struct LiveState {
  std::shared_ptr<const GraphSnapshot> sealed;  ///< null where nothing is sealed
  std::shared_ptr<const Bits> sealed_live;      ///< null where nothing of it is removed
  Filter sealed_filter;                         ///< the same as a filter
  std::size_t sealed_removed = 0;

  std::shared_ptr<DeltaGraph> delta;          ///< only the writer may change it
  DeltaMark mark;                             ///< what of it this moment sees
  std::shared_ptr<const Bits> delta_removed;  ///< bits past its end are not set
  std::size_t delta_removed_count = 0;

  std::size_t sealed_size() const { return sealed ? sealed->size() : 0; }
  std::size_t sealed_count() const { return sealed_size() - sealed_removed; }
  std::size_t delta_count() const { return mark.rows - delta_removed_count; }
  std::size_t size() const { return sealed_count() + delta_count(); }

  bool sealed_lives(Node node) const { return !sealed_live || test_bit(*sealed_live, node); }
  bool delta_lives(Node row) const { return !delta_removed || !test_bit(*delta_removed, row); }

  /// The live node of the snapshot under `id`. O(log n).
  std::optional<Node> find_sealed(Id id) const {
    if (!sealed) return std::nullopt;
    const std::optional<Node> node = sealed->find(id);
    return node && sealed_lives(*node) ? node : std::nullopt;
  }
  /// The live row of the delta under `id`. O(rows): the writer has a map instead.
  std::optional<Node> find_delta(Id id) const {
    for (Node row = mark.rows; row-- > 0;) {
      if (delta->id(row) == id && delta_lives(row)) return row;
    }
    return std::nullopt;
  }

  /// Makes `live` what lives of the snapshot.
  void set_sealed_live(std::shared_ptr<const Bits> live) {
    sealed_filter = Filter::of_bits(live);
    sealed_live = std::move(live);
    sealed_removed = sealed->size() - sealed_filter.count().value();
  }
};

}  // namespace halo::detail
