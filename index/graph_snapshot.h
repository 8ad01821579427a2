// An immutable HNSW index: vectors, ids, levels, the links of every layer and the entry point.
//
// Everything that reads (search, attention masks, refinement, files) reads a snapshot; hnswlib is
// only its writer (vector_index.h). Nodes are numbered 0 .. size() - 1 in a locality order
// (neighbours near each other in memory), not in insertion order; `id(node)` gives the user's id
// back.
//
// Thread-safety: immutable, so any number of threads may read; share it as std::shared_ptr<const
// GraphSnapshot>. Invariants (checked by the factory, also for data that came from a file): see
// SnapshotParts.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "halo/core/csr_mask.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/index/metric.h"
#include "halo/index/vector_codes.h"

namespace halo {

/// A user's name for a vector: 64 bits, not negative (-1 marks "no result" in result files).
using Id = std::int64_t;
/// A vector's place in a snapshot.
using Node = std::uint32_t;

/// The links of one layer. Row r belongs to nodes[r]; columns are nodes. Layer 0 holds every node,
/// so there r = node.
struct LayerLinks {
  std::vector<Node> nodes;                 ///< ascending
  std::vector<std::uint64_t> row_offsets;  ///< nodes.size() + 1 entries
  std::vector<Node> neighbours;  ///< ascending and unique within a row, never the row's own node
};

/// What a snapshot is made of, and what a file stores.
struct SnapshotParts {
  Metric metric = Metric::kL2;
  std::size_t dim = 0;
  std::size_t M = 0;
  std::size_t ef_construction = 0;
  std::uint64_t seed = 0;
  /// size() x dim; rows padded with zeros to 64 bytes (Matrix::padded); finite, and of a length
  /// whose square is at most FLT_MAX / 4, so that no distance overflows; unit length under kCosine.
  Matrix vectors;
  std::vector<Id> ids;               ///< one a node, unique, not negative
  std::vector<std::uint8_t> levels;  ///< one a node: the highest layer it is in
  std::vector<LayerLinks>
      layers;  ///< layer l holds exactly the nodes of level >= l; a link stays within its layer
  Node entry_point = 0;  ///< a node of the top layer
};

class GraphSnapshot {
 public:
  /// Checks every invariant of `parts` and takes them over; throws kCorrupt (naming what is wrong)
  /// where one is broken. Searches will walk on `codes` of the vectors. O(links + vectors).
  static std::shared_ptr<const GraphSnapshot> create(SnapshotParts parts,
                                                     CodeKind codes = CodeKind::kF32);
  /// The same index, shared, with searches on other codes. Throws kOutOfMemory. O(vectors).
  std::shared_ptr<const GraphSnapshot> with_codes(CodeKind codes) const;
  /// The same index, the graph copied, with its vectors kept as `kind`, which exact distances then
  /// come from: kBf16 and kF16 round them and take half the memory; kInt8 takes a quarter, for
  /// whole numbers of 0 to 255 or -128 to 127 under kL2 only, and loses nothing; kF32 turns what is
  /// kept into floats again. Throws kInvalidArgument where kInt8 would lose something or a value
  /// is beyond kF16, kNotPrepared after without_vectors(), kOutOfMemory. O(links + vectors).
  std::shared_ptr<const GraphSnapshot> with_vectors_as(CodeKind kind) const;
  /// The same graph and codes, the graph copied, without the vectors: a fraction of the memory, for
  /// plain search only. Results are then ordered by the codes' distances, which are exact where the
  /// codes are lossless. Whatever needs the vectors (exact search, windows, refinement, files)
  /// throws kNotPrepared. Throws kInvalidArgument for an index without codes. O(links).
  std::shared_ptr<const GraphSnapshot> without_vectors() const;

  std::size_t size() const { return parts_.ids.size(); }
  std::size_t dim() const { return parts_.dim; }
  Metric metric() const { return parts_.metric; }
  std::size_t M() const { return parts_.M; }
  std::size_t ef_construction() const { return parts_.ef_construction; }
  std::uint64_t seed() const { return parts_.seed; }

  /// False after without_vectors().
  bool has_vectors() const { return !parts_.vectors.empty() || kept_.kind() != CodeKind::kF32; }
  /// What the vectors are kept as.
  CodeKind stored() const { return kept_.kind(); }
  /// The vectors, where they are kept as floats; throws kNotPrepared otherwise, see
  /// with_vectors_as().
  MatrixView vectors() const {
    if (parts_.vectors.empty()) refuse_vectors();
    return parts_.vectors;
  }
  std::span<const float> vector(Node node) const { return vectors().row_span(node); }
  /// A vector as floats, however it is kept. `out` has dim() floats. Throws kNotPrepared after
  /// without_vectors().
  void copy_vector(Node node, std::span<float> out) const;
  /// The vectors in the form they are kept in; of kind kF32 and empty where they are floats.
  const VectorCodes& kept() const { return kept_; }

  /// What searches walk on: of kind kF32, the floats above. Shared with kept() where the two are of
  /// one kind.
  const VectorCodes& codes() const { return codes_; }

  Id id(Node node) const { return parts_.ids[node]; }
  std::span<const Id> ids() const { return parts_.ids; }
  /// The node of a user's id, if it is stored. O(log n).
  std::optional<Node> find(Id id) const;

  /// Layers are numbered 0 (every node) to num_layers() - 1 (the entry point's layer).
  std::size_t num_layers() const { return parts_.layers.size(); }
  std::span<const std::uint8_t> levels() const { return parts_.levels; }
  Node entry_point() const { return parts_.entry_point; }

  /// The nodes of layer `layer`, ascending. A layer above the top has none, as in the seed's
  /// get_layer_nodes.
  std::span<const Node> layer_nodes(std::size_t layer) const;
  /// The links of layer `layer` as CSR: row r belongs to layer_nodes(layer)[r], columns are nodes.
  /// Throws kInvalidArgument for a layer that does not exist.
  CsrView edges(std::size_t layer) const;
  /// The neighbours of `node` in `layer`; empty where the node is not in that layer. O(1).
  /// `node` must be below size().
  std::span<const Node> neighbours(Node node, std::size_t layer) const;
  /// Links of `layer` divided by its nodes.
  double average_degree(std::size_t layer = 0) const;
  /// The seed's adaptive window, 2 x average degree of layer 0, rounded: a number of graph
  /// neighbours.
  std::size_t adaptive_window() const;
  /// Nodes that no search can reach from the entry point (0 after a seal, which repairs them).
  std::size_t unreachable_count() const { return contents_->unreachable; }

  /// Bytes held, by part.
  struct MemoryUsage {
    std::size_t vectors = 0, codes = 0, links = 0, ids = 0, other = 0;
    std::size_t total() const { return vectors + codes + links + ids + other; }
  };
  MemoryUsage memory_usage() const;

  const SnapshotParts& parts() const { return parts_; }

 private:
  // What snapshots with different codes share.
  struct Contents {
    Contents(SnapshotParts taken, std::vector<Node> sorted);
    SnapshotParts parts;
    std::vector<Node> nodes_by_id;  // nodes sorted by their id
    // Row of a node in layer l >= 1: upper_rows[upper_begin[node] + l - 1].
    std::vector<std::uint64_t> upper_begin;
    std::vector<Node> upper_rows;
    std::size_t unreachable = 0;
  };
  GraphSnapshot(std::shared_ptr<const Contents> contents, VectorCodes kept, VectorCodes codes);
  // A copy of the graph, with these vectors, or none.
  std::shared_ptr<const Contents> graph_with(Matrix vectors) const;
  Matrix floats() const;
  [[noreturn]] void refuse_vectors() const;
  std::shared_ptr<const Contents> contents_;
  const SnapshotParts& parts_;
  VectorCodes kept_;  // of kind kF32: the vectors are in the parts, or given up
  VectorCodes codes_;
};

}  // namespace halo
