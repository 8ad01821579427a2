// The two halves of sealing a live index: everything that lived when it began becomes one snapshot,
// and what was written meanwhile becomes the next delta.
//
// Thread-safety: sealed_of() is a pure function; a Carry belongs to one thread. Private to the
// index room.
#pragma once

#include <memory>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/progress.h"
#include "halo/index/detail/live_state.h"
#include "halo/index/vector_index.h"

namespace halo::detail {

/// The live vectors of `state` as one snapshot, null where none lives: hnswlib's graph is resumed
/// from the sealed nodes that live, and the delta's vectors are linked into it. Where most sealed
/// nodes are removed, the graph is built anew. Throws kCancelled and kOutOfMemory.
std::shared_ptr<const GraphSnapshot> sealed_of(const LiveState& state, const BuildOptions& options,
                                               const Executor& executor, const Job& job);

/// An empty delta beside `sealed` (null for none), whose codes it shares.
std::shared_ptr<DeltaGraph> new_delta(DeltaOptions options, const GraphSnapshot* sealed);
/// Makes room in `delta` for `rows` more: in place where there is, else in a copy that replaces it.
void make_room(std::shared_ptr<DeltaGraph>& delta, std::size_t rows);

/// What a live index at `state` takes at most while `added` rows are written to it and it is
/// sealed: snapshot, delta (twice where it grows), and all that a seal makes beside them.
std::size_t live_bytes(const LiveState& state, std::size_t added, const BuildOptions& options);

/// What is written to a live index between the moment `begun` and the end of a seal.
class Carry {
 public:
  /// `snapshot` is what was sealed of `begun`, null for nothing.
  Carry(std::shared_ptr<const LiveState> begun, std::shared_ptr<const GraphSnapshot> snapshot);

  /// Brings what was added until `now` into the next delta, linked but for the last `tail` rows.
  /// Returns how many rows were brought: writes go on meanwhile.
  std::size_t catch_up(const LiveState& now, std::size_t tail, const Job& job);
  /// The state that follows `now`, with the snapshot sealed and nothing written since lost. No
  /// write may happen between `now` and the publication of what is returned.
  std::shared_ptr<LiveState> finish(const LiveState& now);

 private:
  void append_until(const LiveState& now);
  void remove_sealed(const LiveState& now, LiveState& next) const;

  std::shared_ptr<const LiveState> begun_;
  std::shared_ptr<const GraphSnapshot> snapshot_;
  std::shared_ptr<DeltaGraph> next_;
  std::vector<Node> source_;  // of a row of the next delta: its row in the old one
  Node carried_;              // rows of the old delta below it are sealed or carried
};

}  // namespace halo::detail
