// The newest vectors of a live index: an HNSW graph that one writer extends while readers search
// it without a lock, and a tail of rows not yet linked, which readers scan.
//
// hnswlib's graph cannot be read while it is written. Here rows and lists never move, a link is one
// atomic word, and a reader only follows links to rows that were published to it with a DeltaMark.
// A list that is rewritten under a reader is a mixture of its old and new links for a moment: all
// of them are right. A graph without room is left to its readers, and a larger copy goes on.
//
// Thread-safety: append(), truncate() and link_next() belong to one writer at a time; everything
// const is for readers, of rows whose DeltaMark reached them through a Published.
// Source: Malkov and Yashunin, "Efficient and robust approximate nearest neighbor search using HNSW
// graphs", 2018.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "halo/core/aligned_memory.h"
#include "halo/core/matrix_view.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/row_scorer.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_codes.h"

namespace halo::detail {

struct DeltaOptions {
  Metric metric = Metric::kL2;
  std::size_t dim = 0;
  std::size_t M = 16;
  std::size_t ef_construction = 64;
  std::uint64_t seed = 100;
  /// What walks and links read, as the sealed snapshot's searches do.
  CodeKind codes = CodeKind::kF32;
  Int8Quantiser quantiser;
};

/// What of a delta graph a reader may touch.
struct DeltaMark {
  Node rows = 0;    ///< rows below it are there
  Node linked = 0;  ///< rows below it are linked; the others are the tail
  Node entry = 0;   ///< where walks begin, if anything is linked
  std::uint8_t top = 0;
};

/// One reader's memory.
struct DeltaScratch {
  WalkScratch walk;
  QueryBuffer codes;
  std::vector<Node> nodes;
  std::vector<Neighbour> nearest;
};

class DeltaGraph {
 public:
  using Allows = std::function<bool(Node)>;

  /// Throws kOutOfMemory, and std::bad_alloc.
  DeltaGraph(const DeltaOptions& options, std::size_t capacity);
  ~DeltaGraph();
  DeltaGraph(const DeltaGraph&) = delete;
  DeltaGraph& operator=(const DeltaGraph&) = delete;

  /// The same rows and links with room for more. O(rows). Throws as the constructor.
  std::shared_ptr<DeltaGraph> with_capacity(std::size_t capacity) const;
  std::size_t capacity() const { return capacity_; }
  /// What a graph with this much room takes, filled.
  static std::size_t bytes(const DeltaOptions& options, std::size_t capacity);

  /// Appends a vector as stored (store_row()) to the tail, where there is room.
  void append(const float* vector, Id id);
  /// Forgets the newest rows; they must be in the tail.
  void truncate(Node rows);
  /// Links the oldest row of the tail. Throws std::bad_alloc with nothing changed. O(log(linked)
  /// ef_construction M dim).
  void link_next();
  const DeltaMark& mark() const { return mark_; }

  const float* vector(Node row) const { return vectors_.get() + row * stride_; }
  Id id(Node row) const { return ids_[row]; }
  const DeltaOptions& options() const { return options_; }

  /// Leaves up to `k` of the nearest rows of `mark` that `allows` (all, where it is empty) in
  /// scratch.nearest, in no order, with exact distances. `share`: of the rows, how many are
  /// allowed as far as the caller knows, which only bears on time; in [0, 1]. `query` is prepared
  /// as a stored vector, 64-byte aligned. Every row of the tail is looked at.
  void search(const DeltaMark& mark, const float* query, std::size_t k, std::size_t ef,
              const Allows& allows, double share, DeltaScratch& scratch) const;
  /// The same, exactly: looks at every row.
  void scan(const DeltaMark& mark, const float* query, std::size_t k, const Allows& allows,
            DeltaScratch& scratch) const;

 private:
  using Word = std::atomic<Node>;
  // The links of one layer to rows below `linked`.
  struct LinkedRows;

  std::size_t limit(std::size_t layer) const { return layer == 0 ? 2 * options_.M : options_.M; }
  /// The list of `row` in `layer`: the number of links, then the links.
  Word* list(Node row, std::size_t layer) const;
  std::byte* codes(Node row) const;
  RowScorer query_scorer(const float* query, QueryBuffer& buffer) const;
  void walk_allowed(const DeltaMark& mark, const RowScorer& score, std::size_t k, std::size_t ef,
                    const Allows& allows, double share, DeltaScratch& scratch) const;
  Node descend(const DeltaMark& mark, const RowScorer& score, std::size_t layer,
               std::vector<Node>& links, std::vector<float>& distances) const;

  void select(std::size_t limit);
  void set_links(Node row, std::size_t layer, std::span<const Neighbour> links);
  void connect(Node row, Node to, std::size_t layer);
  void prune(Node row, std::size_t layer, const Neighbour& added);
  float between(Node a, Node b) const { return stored_.distance(codes(a), codes(b)); }

  DeltaOptions options_;
  StoredRows stored_;
  std::size_t capacity_, stride_;
  AlignedArray<float> vectors_;
  AlignedArray<std::byte> codes_;  // none for kF32
  std::unique_ptr<Id[]> ids_;
  std::unique_ptr<std::uint8_t[]> levels_;
  std::unique_ptr<Word[]> links_;                     // of layer 0
  std::unique_ptr<std::unique_ptr<Word[]>[]> upper_;  // one a row: its lists of layers 1, 2, ...
  DeltaMark mark_;
  // The writer's memory.
  WalkScratch walk_;
  StoredRows::Buffers buffers_;
  std::vector<Node> copied_;
  std::vector<std::vector<Neighbour>> selected_;  // one a layer
  std::vector<Neighbour> candidates_, kept_, left_out_;
  std::vector<std::uint32_t> links_to_;  // one a row: links of layer 0 that lead to it
};

}  // namespace halo::detail
