// An index that is searched while it changes: add, remove and update by id.
//
// It is a log-structured merge of two graphs. What is settled is an immutable GraphSnapshot,
// searched as any other. New vectors go to a delta: its newest rows are scanned, the others are
// linked into a small graph as they leave that tail. Removed vectors are bits. When enough has
// changed, a thread of the index's own resumes hnswlib's graph from the snapshot without the
// removed nodes, links the delta's vectors into it, seals it, and publishes the new snapshot with
// what arrived meanwhile as the new delta.
//
// Thread-safety: everything may be called from any number of threads. Searches never wait: they
// take the current moment (core/published.h) and look at nothing that changes. Writers exclude each
// other. Every view or search that begins after a write returned sees all of that write; none ever
// sees a part of one (an updated vector is there once, the old or the new). Invariants: an id lives
// at most once. The background thread runs at the lowest priority the system has, until it falls
// behind; it never holds what a search needs. Memory: the snapshot and the delta; while a seal
// runs, hnswlib's graph and the next snapshot too. A live index is saved by saving the snapshot of
// seal(), and opened by loading one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/live_view.h"
#include "halo/index/vector_index.h"

namespace halo {

struct LiveOptions {
  /// Of the sealed graph; its metric, M and seed are the delta's too. Its memory_limit is for all
  /// of the live index: writes after which it or a seal of it might take more are refused with
  /// kMemoryLimit. What views hold of the past is not counted.
  BuildOptions build = {};
  /// Candidates looked at while linking a vector into the delta, at least 1. Raising it costs time
  /// of add(), about linearly, and buys recall of vectors not yet sealed.
  std::size_t delta_ef_construction = 64;
  /// The newest vectors, which searches scan instead of walking to them. Raising it costs search
  /// time: one distance each.
  std::size_t scanned_tail = 128;
  /// The background seals once this many vectors were added or removed, and at least ...
  std::size_t min_changes = 4096;
  /// ... this share of the sealed vectors, in (0, 1]: a seal copies all of them, so raising it
  /// saves work per change and costs search time (a larger delta, more removed nodes to walk
  /// through).
  double change_share = 0.1;
  /// Where writers outrun the background: from this many times the changes above on, at least 2,
  /// the background runs as any other thread and each add() or update() waits for it for up to a
  /// tenth of a second; from twice as many on, add() waits for the seal, or seals itself. So no
  /// more than that, and what the writers' last calls brought, ever waits in the delta. Raising it
  /// costs memory and search time under such load.
  double most_behind = 8;
  /// Off: only seal() seals, for callers that own their threads and for tests.
  bool background = true;

  void validate() const;  ///< throws kInvalidArgument
};

class LiveIndex {
 public:
  /// An empty index of vectors of `dim` floats, 1 to 65,536.
  LiveIndex(std::size_t dim, const LiveOptions& options);
  /// Goes on where a snapshot is; metric, M, ef_construction and seed are the snapshot's.
  LiveIndex(std::shared_ptr<const GraphSnapshot> snapshot, const LiveOptions& options);
  /// Stops the background thread; what was not sealed is gone. No other thread may use it any more.
  ~LiveIndex();
  LiveIndex(const LiveIndex&) = delete;
  LiveIndex& operator=(const LiveIndex&) = delete;

  /// Adds vectors [n, dim] under new `ids` [n]. All or nothing, also when stopped or out of memory.
  /// O(delta_ef_construction M dim) a vector, on the calling thread. To load a large collection,
  /// build a snapshot with VectorIndex. Throws kDimensionMismatch, kNonFinite, kZeroVector
  /// (cosine), kDuplicateId (twice, or living already), kInvalidArgument (negative id, other number
  /// of ids), kCancelled, kOutOfMemory, kMemoryLimit.
  void add(const MatrixView& vectors, std::span<const Id> ids, const Job& job = {});
  /// Gives living `ids` other vectors. All or nothing; throws as add(), and kUnknownId.
  void update(const MatrixView& vectors, std::span<const Id> ids, const Job& job = {});
  /// Removes living `ids`. All or nothing. O(sealed / 64 + n log(sealed)), so that many at once
  /// cost little more than one. Throws kUnknownId (also for an id given twice), kOutOfMemory.
  void remove(std::span<const Id> ids);

  /// This moment, for searches: cheap enough to take for every search.
  LiveView view() const;
  std::size_t size() const { return view().size(); }
  std::size_t dim() const;
  bool contains(Id id) const { return view().contains(id); }
  /// As LiveView::search, at this moment.
  std::size_t search(std::span<const float> query, const LiveSearchOptions& options,
                     LiveScratch& scratch, std::span<LiveNeighbour> out) const {
    return view().search(query, options, scratch, out);
  }

  /// Seals everything written before the call, without what was removed, on the caller's executor,
  /// and returns it: a snapshot to save, refine or search. Null where nothing lives. A seal of the
  /// background is stopped and done again here. Deterministic with build.deterministic and no
  /// writes meanwhile. Throws kCancelled and kOutOfMemory, with everything as it was.
  std::shared_ptr<const GraphSnapshot> seal(const Executor& executor, const Job& job = {});

  struct Stats {
    std::size_t sealed = 0;            ///< vectors in the snapshot, removed ones among them
    std::size_t sealed_removed = 0;    ///< of those, removed
    std::size_t delta = 0;             ///< vectors waiting, removed ones among them
    std::size_t delta_removed = 0;     ///< of those, removed
    std::uint64_t seals = 0;           ///< by anyone
    std::uint64_t failed_seals = 0;    ///< of the background, which tries again after more changes
    std::optional<ErrorCode> failure;  ///< why the last of them failed
    std::uint64_t held_back = 0;       ///< add() and update() that waited for a seal
  };
  Stats stats() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo
