// One moment of a live index (live_index.h): searches in it see exactly the vectors that lived
// then, whatever is added, removed or sealed meanwhile.
//
// Thread-safety: immutable; any number of threads may search one view, each with its own scratch.
// A view keeps the memory of its moment alive: take a new one for new searches.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"

namespace halo {

namespace detail {
struct LiveState;
}  // namespace detail

/// One result: smaller distances are nearer (see Metric for the formulas).
struct LiveNeighbour {
  float distance = 0;
  Id id = -1;
  bool operator==(const LiveNeighbour&) const = default;
};

struct LiveSearchOptions {
  /// Results wanted, at least 1; where fewer vectors live (or pass the filter), all of those.
  std::size_t k = 10;
  /// Candidates kept while walking the graphs; max(ef, k) is used. Raising it costs time, about
  /// linearly, and buys recall.
  std::size_t ef = 64;
  /// Which ids may be returned; empty allows all. Called by the searching threads.
  std::function<bool(Id)> filter = {};

  void validate() const;  ///< throws kInvalidArgument (k = 0, ef = 0)
};

/// Reusable memory of one searching thread.
class LiveScratch {
 public:
  LiveScratch();
  ~LiveScratch();
  LiveScratch(LiveScratch&&) noexcept;
  LiveScratch& operator=(LiveScratch&&) noexcept;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Results of a batch: those of query i begin at i * k; unfound places have id -1.
struct LiveResults {
  std::size_t k = 0;                      ///< the k asked for, or as many as live
  std::vector<LiveNeighbour> neighbours;  ///< queries x k
  std::vector<std::size_t> found;         ///< one a query
  std::span<const LiveNeighbour> of(std::size_t query) const {
    return std::span(neighbours).subspan(query * k, found[query]);
  }
};

class LiveView {
 public:
  /// The vectors that live.
  std::size_t size() const;
  std::size_t dim() const;
  Metric metric() const;
  /// O(log(sealed) + delta).
  bool contains(Id id) const;
  /// The vector as stored (of unit length under kCosine); nothing where the id does not live.
  /// O(log(sealed) + delta).
  std::optional<std::vector<float>> vector(Id id) const;

  /// The nearest live vectors, nearest first (equal distances: lower id first), into out[0 .. k).
  /// Returns how many: k, wherever k live and pass the filter. `query` has dim() floats. Throws
  /// kDimensionMismatch, kNonFinite, kZeroVector (cosine), kInvalidArgument (as validate(), or an
  /// `out` shorter than k). As search() over the sealed part, plus O(ef log(delta) M dim) for the
  /// linked delta and O(dim) for every row of its tail.
  std::size_t search(std::span<const float> query, const LiveSearchOptions& options,
                     LiveScratch& scratch, std::span<LiveNeighbour> out) const;
  /// Many queries on the executor.
  LiveResults search_batch(const MatrixView& queries, const LiveSearchOptions& options,
                           const Executor& executor, const Job& job = {}) const;
  /// As search(), exactly: looks at every live vector. `options.ef` is not used.
  std::size_t exact_search(std::span<const float> query, const LiveSearchOptions& options,
                           LiveScratch& scratch, std::span<LiveNeighbour> out) const;

  /// The two parts of this moment, for callers that search the sealed one in a way of their own:
  /// the snapshot, null where nothing is sealed; the nodes of it that live (empty: all); how many
  /// vectors live outside it; and the nearest of those, as search().
  std::shared_ptr<const GraphSnapshot> sealed() const;
  Filter sealed_filter() const;
  std::size_t unsealed_size() const;
  std::size_t search_unsealed(std::span<const float> query, const LiveSearchOptions& options,
                              LiveScratch& scratch, std::span<LiveNeighbour> out) const;
  /// Every vector outside the snapshot, as stored, in the order it was written.
  void for_each_unsealed(
      const std::function<void(Id id, std::span<const float> vector)>& visit) const;

  /// For LiveIndex.
  explicit LiveView(std::shared_ptr<const detail::LiveState> state);

 private:
  enum class How { kWalk, kScan, kWalkUnsealed };
  std::size_t answer(std::span<const float> query, const LiveSearchOptions& options,
                     LiveScratch& scratch, std::span<LiveNeighbour> out, How how) const;
  void search_sealed(std::span<const float> query, const LiveSearchOptions& options,
                     LiveScratch::Impl& scratch, How how) const;
  void search_delta(const LiveSearchOptions& options, LiveScratch::Impl& scratch, How how) const;

  std::shared_ptr<const detail::LiveState> state_;
};

}  // namespace halo
