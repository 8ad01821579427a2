// k-nearest-neighbour search over a snapshot: hnswlib's algorithm on halo's own memory layout,
// without a lock. The walk reads the snapshot's codes (vector_codes.h); the results' distances are
// always exact ones of the float32 vectors, where the snapshot has them.
//
// Thread-safety: a search touches the snapshot, which is immutable, and the caller's scratch, one a
// thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"

namespace halo {

/// One result: smaller distances are nearer (see Metric for the formulas).
struct Neighbour {
  float distance = 0;
  Node node = 0;
  bool operator==(const Neighbour&) const = default;
};

/// Which nodes a search may return. Empty allows all of them. A search estimates what each way to
/// an answer costs: to look at every allowed node, to walk on allowed nodes and over the others
/// between them, or to walk on all with more candidates.
class Filter {
 public:
  Filter() = default;
  /// One bit a node, 64 to a word, bit i % 64 of word i / 64. Shared, so that copies of the options
  /// stay cheap.
  static Filter of_bits(std::shared_ptr<const std::vector<std::uint64_t>> bits);
  /// Only the nodes of these ids; throws kUnknownId for one that the snapshot does not hold.
  static Filter of_ids(const GraphSnapshot& snapshot, std::span<const Id> ids);
  /// Called by the searching threads, so it must be safe to call from several at once.
  static Filter of_predicate(std::function<bool(Node)> allowed);

  bool empty() const { return !bits_ && !predicate_; }
  bool allows(Node node) const {
    if (bits_) return ((*bits_)[node / 64] >> (node % 64) & 1U) != 0;
    return !predicate_ || predicate_(node);
  }
  /// How many nodes a bitset allows (bits past the last node are counted too); nothing for a
  /// predicate or an empty filter.
  std::optional<std::size_t> count() const { return bits_ ? std::optional(count_) : std::nullopt; }
  /// The bitset; null for a predicate or an empty filter.
  const std::vector<std::uint64_t>* bits() const { return bits_.get(); }
  /// Throws kInvalidArgument where a bitset is too short for `size` nodes.
  void validate(std::size_t size) const;

 private:
  std::shared_ptr<const std::vector<std::uint64_t>> bits_;
  std::function<bool(Node)> predicate_;
  std::size_t count_ = 0;
};

struct SearchOptions {
  /// Results wanted, 1 to the number of vectors.
  std::size_t k = 10;
  /// Candidates kept while walking the graph; max(ef, k) is used. Raising it costs time, about
  /// linearly, and buys recall.
  std::size_t ef = 64;
  Filter filter = {};
  /// How many of the walk's nearest candidates get exact distances, which order the results: at
  /// least k and at most ef are. 0 chooses: k where codes are lossless, else 2 k + 16. Raising it
  /// costs one float32 vector read each; it buys back recall that codes lost. Without codes there
  /// is nothing to do.
  std::size_t rescore = 0;
  /// Walk on the float32 vectors although the snapshot has codes (kNotPrepared without vectors).
  bool exact_walk = false;

  /// Throws kInvalidArgument (k = 0, k > size, ef = 0, filter of another size).
  void validate(const GraphSnapshot& snapshot) const;
};

/// Reusable memory of one searching thread; grows to what the largest search needed.
class SearchScratch {
 public:
  SearchScratch();
  ~SearchScratch();
  SearchScratch(SearchScratch&&) noexcept;
  SearchScratch& operator=(SearchScratch&&) noexcept;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

/// Throws kDimensionMismatch, kNonFinite, or kZeroVector (under cosine) for a vector this index
/// cannot answer.
void validate_query(const GraphSnapshot& snapshot, std::span<const float> query);

inline constexpr Node kNoNode = 0xffffffffU;

/// The nearest nodes found, nearest first (equal distances: lower node first), into out[0 .. k).
/// Returns how many were found: k, unless a filter allows fewer. `query` has dim() floats. Throws
/// as validate() and validate_query(), and kInvalidArgument where `out` is shorter than k. O(ef
/// log(n) M dim) on average; a filter that allows few nodes is answered by looking at all of those.
/// `start`: where the walk on layer 0 begins, as BatchOrder found it for this query and these
/// options; kNoNode: search() goes down the layers itself, with the same result.
std::size_t search(const GraphSnapshot& snapshot, std::span<const float> query,
                   const SearchOptions& options, SearchScratch& scratch, std::span<Neighbour> out,
                   Node start = kNoNode);

/// Many queries on the executor, in the order of BatchOrder: results of query i are at i * k;
/// unfound places have node kNoNode.
struct SearchResults {
  std::size_t k = 0;
  std::vector<Neighbour> neighbours;  ///< queries x k
  std::vector<std::size_t> found;     ///< one a query
  std::span<const Neighbour> of(std::size_t query) const {
    return std::span(neighbours).subspan(query * k, found[query]);
  }
};
SearchResults search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                           const SearchOptions& options, const Executor& executor,
                           const Job& job = {});

}  // namespace halo
