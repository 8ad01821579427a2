#include "halo/index/graph_snapshot.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/half_matrix.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/reachability.h"

namespace halo {
namespace {

constexpr std::size_t kMaxLayers = 64;
// A walk's pool keeps a mark in a node's highest bit.
constexpr std::size_t kMaxNodes = std::size_t{1} << 31U;
constexpr std::size_t kMaxDim = 65536;
constexpr float kUnitTolerance = 2.5e-3F;  // bf16 moves a length by up to 2^-9

[[noreturn]] void fail(const std::string& what) {
  throw Error(ErrorCode::kCorrupt, "snapshot: " + what);
}

void check_sizes(const SnapshotParts& parts) {
  if (parts.metric != Metric::kL2 && parts.metric != Metric::kInnerProduct &&
      parts.metric != Metric::kCosine) {
    fail("unknown metric number " + std::to_string(static_cast<std::uint32_t>(parts.metric)));
  }
  if (parts.dim == 0 || parts.dim > kMaxDim) {
    fail("dimension " + std::to_string(parts.dim) + " is not 1 to " + std::to_string(kMaxDim));
  }
  if (parts.M < 2 || parts.M > 256) fail("M " + std::to_string(parts.M) + " is not 2 to 256");
  if (parts.ef_construction == 0) fail("ef_construction is 0");
  const std::size_t size = parts.ids.size();
  if (size == 0) fail("no vectors");
  if (size > kMaxNodes) fail("more vectors than 31-bit nodes can name");
  if (parts.vectors.rows() != size || parts.vectors.cols() != parts.dim) {
    fail("vectors are " + std::to_string(parts.vectors.rows()) + " x " +
         std::to_string(parts.vectors.cols()) + ", not " + std::to_string(size) + " x " +
         std::to_string(parts.dim));
  }
  if (parts.vectors.stride() != detail::padded_width(parts.dim)) {
    fail("rows of vectors are not padded to 64 bytes");
  }
  if (parts.levels.size() != size) {
    fail(std::to_string(parts.levels.size()) + " levels for " + std::to_string(size) + " vectors");
  }
  if (parts.layers.empty() || parts.layers.size() > kMaxLayers) {
    fail(std::to_string(parts.layers.size()) + " layers, not 1 to " + std::to_string(kMaxLayers));
  }
}

void check_levels(const SnapshotParts& parts) {
  std::vector<std::size_t> at_level(parts.layers.size(), 0);
  for (std::size_t node = 0; node < parts.levels.size(); ++node) {
    if (parts.levels[node] >= parts.layers.size()) {
      fail("node " + std::to_string(node) + " has level " + std::to_string(parts.levels[node]) +
           " of " + std::to_string(parts.layers.size()) + " layers");
    }
    ++at_level[parts.levels[node]];
  }
  std::size_t expected = 0;
  for (std::size_t l = parts.layers.size(); l-- > 0;) {
    expected += at_level[l];
    const auto& nodes = parts.layers[l].nodes;
    const std::string where = "layer " + std::to_string(l);
    if (nodes.size() != expected) {
      fail(where + " has " + std::to_string(nodes.size()) + " nodes; the levels say " +
           std::to_string(expected));
    }
    if (nodes.empty()) fail(where + " is empty");
    for (std::size_t row = 0; row < nodes.size(); ++row) {
      if (nodes[row] >= parts.levels.size()) {
        fail(where + " names node " + std::to_string(nodes[row]) + " of " +
             std::to_string(parts.levels.size()));
      }
      if (row > 0 && nodes[row - 1] >= nodes[row]) {
        fail("nodes of " + where + " are not ascending and unique");
      }
      if (parts.levels[nodes[row]] < l) {
        fail(where + " holds node " + std::to_string(nodes[row]) + " of a lower level");
      }
    }
  }
  if (parts.entry_point >= parts.levels.size()) {
    fail("the entry point is node " + std::to_string(parts.entry_point) + " of " +
         std::to_string(parts.levels.size()));
  }
  if (std::size_t{parts.levels[parts.entry_point]} + 1 != parts.layers.size()) {
    fail("the entry point is not in the top layer");
  }
}

void check_links(const SnapshotParts& parts, std::size_t l) {
  const LayerLinks& layer = parts.layers[l];
  const std::string where = "layer " + std::to_string(l);
  const auto& offsets = layer.row_offsets;
  if (offsets.size() != layer.nodes.size() + 1 || offsets.front() != 0 ||
      offsets.back() != layer.neighbours.size()) {
    fail("row offsets of " + where + " do not fit its nodes and links");
  }
  for (std::size_t row = 0; row < layer.nodes.size(); ++row) {
    const std::uint64_t begin = offsets[row], end = offsets[row + 1];
    if (begin > end || end > layer.neighbours.size()) {
      fail("row offsets of " + where + " descend at row " + std::to_string(row));
    }
    const Node node = layer.nodes[row];
    for (std::uint64_t e = begin; e < end; ++e) {
      const Node next = layer.neighbours[e];
      const auto link = [&] {
        return "link " + std::to_string(node) + " -> " + std::to_string(next) + " of " + where;
      };
      if (next >= parts.levels.size()) fail(link() + " leads to no node");
      if (parts.levels[next] < l) fail(link() + " leaves the layer");
      if (next == node) fail(link() + " leads to its own node");
      if (e > begin && layer.neighbours[e - 1] >= next) fail(link() + " is not in ascending order");
    }
  }
}

void check_vectors(const SnapshotParts& parts) {
  const std::size_t dim = parts.dim, stride = parts.vectors.stride();
  for (std::size_t node = 0; node < parts.ids.size(); ++node) {
    const float* vector = parts.vectors.row(node);
    // NaN fails the comparison too.
    const float squared = kernels::dot(vector, vector, dim);
    if (!(squared <= detail::kMaxSquaredLength)) {
      fail("vector of node " + std::to_string(node) + " is not finite, or too long");
    }
    if (parts.metric == Metric::kCosine && !(std::fabs(std::sqrt(squared) - 1) < kUnitTolerance)) {
      fail("vector of node " + std::to_string(node) + " is not of unit length");
    }
    // Search reads the padding with the vector.
    if (std::any_of(vector + dim, vector + stride, [](float x) { return x != 0.0F; })) {
      fail("padding of node " + std::to_string(node) + " is not zero");
    }
  }
}

std::vector<Node> check_ids(const SnapshotParts& parts) {
  std::vector<Node> by_id(parts.ids.size());
  std::iota(by_id.begin(), by_id.end(), Node{0});
  const auto& ids = parts.ids;
  std::sort(by_id.begin(), by_id.end(),
            [&](Node a, Node b) { return std::pair(ids[a], a) < std::pair(ids[b], b); });
  if (ids[by_id.front()] < 0) fail("id " + std::to_string(ids[by_id.front()]) + " is negative");
  for (std::size_t i = 1; i < by_id.size(); ++i) {
    if (ids[by_id[i - 1]] == ids[by_id[i]]) {
      fail("id " + std::to_string(ids[by_id[i]]) + " is there twice");
    }
  }
  return by_id;
}

}  // namespace

std::shared_ptr<const GraphSnapshot> GraphSnapshot::create(SnapshotParts parts,
                                                           CodeKind codes) try {
  if (code_kind_name(codes) == "unknown") {
    fail("unknown kind of codes " + std::to_string(static_cast<std::uint32_t>(codes)));
  }
  check_sizes(parts);
  check_levels(parts);
  for (std::size_t l = 0; l < parts.layers.size(); ++l) check_links(parts, l);
  check_vectors(parts);
  std::vector<Node> by_id = check_ids(parts);
  auto contents = std::make_shared<const Contents>(std::move(parts), std::move(by_id));
  auto encoded = VectorCodes::encode(codes, contents->parts.metric, contents->parts.vectors);
  return std::shared_ptr<const GraphSnapshot>(
      new GraphSnapshot(std::move(contents), {}, std::move(encoded)));
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a snapshot"; });
}

std::shared_ptr<const GraphSnapshot> GraphSnapshot::with_codes(CodeKind codes) const try {
  VectorCodes encoded = kept_;
  if (codes != kept_.kind()) {
    const Matrix decoded = kept_.kind() == CodeKind::kF32 ? Matrix() : floats();
    encoded = VectorCodes::encode(codes, metric(), decoded.empty() ? vectors() : decoded.view());
  }
  return std::shared_ptr<const GraphSnapshot>(
      new GraphSnapshot(contents_, kept_, std::move(encoded)));
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for codes"; });
}

std::shared_ptr<const GraphSnapshot> GraphSnapshot::with_vectors_as(CodeKind kind) const try {
  if (code_kind_name(kind) == "unknown") {
    throw Error(ErrorCode::kInvalidArgument,
                "vectors kept as unknown kind " + std::to_string(static_cast<std::uint32_t>(kind)));
  }
  if (kind == stored() && has_vectors()) {
    return std::shared_ptr<const GraphSnapshot>(new GraphSnapshot(contents_, kept_, codes_));
  }
  Matrix decoded;
  if (stored() != CodeKind::kF32) decoded = floats();
  const MatrixView rows = decoded.empty() ? vectors() : decoded.view();
  if (kind == CodeKind::kF32) {
    return std::shared_ptr<const GraphSnapshot>(
        new GraphSnapshot(graph_with(std::move(decoded)), {}, codes_));
  }
  if (kind == CodeKind::kInt8 && (metric() != Metric::kL2 || !Int8Quantiser::lossless_for(rows))) {
    throw Error(ErrorCode::kInvalidArgument,
                "vectors are kept as int8 only under l2, and only whole numbers of 0 to 255 or "
                "-128 to 127");
  }
  for (std::size_t i = 0; kind == CodeKind::kF16 && i < rows.rows; ++i) {
    const auto row = rows.row_span(i);
    if (std::any_of(row.begin(), row.end(), [](float x) { return std::fabs(x) > kGreatestF16; })) {
      throw Error(ErrorCode::kInvalidArgument, "the vector of id " +
                                                   std::to_string(id(static_cast<Node>(i))) +
                                                   " has values beyond the range of f16");
    }
  }
  VectorCodes kept = codes_.kind() == kind ? codes_ : VectorCodes::encode(kind, metric(), rows);
  VectorCodes codes = codes_.kind() == CodeKind::kF32 ? kept : codes_;
  const std::shared_ptr<const GraphSnapshot> stored(
      new GraphSnapshot(graph_with({}), std::move(kept), std::move(codes)));
  // Codes of what is kept, as they would be made of it when it is read from a file.
  const bool rounded = kind != CodeKind::kInt8 && stored->codes().kind() != kind;
  return rounded ? stored->with_codes(codes_.kind()) : stored;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a snapshot"; });
}

std::shared_ptr<const GraphSnapshot> GraphSnapshot::without_vectors() const try {
  if (codes_.kind() == CodeKind::kF32) {
    throw Error(ErrorCode::kInvalidArgument, "an index without codes cannot drop its vectors");
  }
  return std::shared_ptr<const GraphSnapshot>(new GraphSnapshot(graph_with({}), {}, codes_));
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a snapshot"; });
}

std::shared_ptr<const GraphSnapshot::Contents> GraphSnapshot::graph_with(Matrix vectors) const {
  SnapshotParts copy;
  copy.metric = parts_.metric;
  copy.dim = parts_.dim;
  copy.M = parts_.M;
  copy.ef_construction = parts_.ef_construction;
  copy.seed = parts_.seed;
  copy.vectors = std::move(vectors);
  copy.ids = parts_.ids;
  copy.levels = parts_.levels;
  copy.layers = parts_.layers;
  copy.entry_point = parts_.entry_point;
  return std::make_shared<const Contents>(std::move(copy), contents_->nodes_by_id);
}

Matrix GraphSnapshot::floats() const {
  Matrix rows = Matrix::padded(size(), dim());
  for (std::size_t i = 0; i < size(); ++i) {
    decode_row(kept_.kind(), kept_.quantiser(), kept_.row(i), {rows.row(i), dim()});
  }
  return rows;
}

void GraphSnapshot::copy_vector(Node node, std::span<float> out) const {
  if (kept_.kind() == CodeKind::kF32) {
    std::copy_n(vector(node).begin(), dim(), out.begin());
  } else {
    decode_row(kept_.kind(), kept_.quantiser(), kept_.row(node), out.first(dim()));
  }
}

void GraphSnapshot::refuse_vectors() const {
  throw Error(ErrorCode::kNotPrepared, has_vectors() ? "this index keeps its vectors as " +
                                                           std::string(code_kind_name(stored())) +
                                                           ", not as floats"
                                                     : "this index keeps codes only, no vectors");
}

GraphSnapshot::GraphSnapshot(std::shared_ptr<const Contents> contents, VectorCodes kept,
                             VectorCodes codes)
    : contents_(std::move(contents)),
      parts_(contents_->parts),
      kept_(std::move(kept)),
      codes_(std::move(codes)) {}

GraphSnapshot::Contents::Contents(SnapshotParts taken, std::vector<Node> sorted)
    : parts(std::move(taken)), nodes_by_id(std::move(sorted)) {
  const auto reached = detail::reachable_nodes(parts);
  unreachable = static_cast<std::size_t>(std::count(reached.begin(), reached.end(), 0));

  const std::size_t size = parts.ids.size();
  upper_begin.assign(size + 1, 0);
  for (std::size_t node = 0; node < size; ++node) {
    upper_begin[node + 1] = upper_begin[node] + parts.levels[node];
  }
  upper_rows.resize(upper_begin.back());
  for (std::size_t l = 1; l < parts.layers.size(); ++l) {
    const auto& nodes = parts.layers[l].nodes;
    for (std::size_t row = 0; row < nodes.size(); ++row) {
      upper_rows[upper_begin[nodes[row]] + l - 1] = static_cast<Node>(row);
    }
  }
}

std::optional<Node> GraphSnapshot::find(Id id) const {
  const auto& by_id = contents_->nodes_by_id;
  const auto at = std::lower_bound(by_id.begin(), by_id.end(), id,
                                   [&](Node node, Id wanted) { return parts_.ids[node] < wanted; });
  if (at == by_id.end() || parts_.ids[*at] != id) return std::nullopt;
  return *at;
}

std::span<const Node> GraphSnapshot::layer_nodes(std::size_t layer) const {
  if (layer >= num_layers()) return {};
  return parts_.layers[layer].nodes;
}

CsrView GraphSnapshot::edges(std::size_t layer) const {
  if (layer >= num_layers()) {
    throw Error(ErrorCode::kInvalidArgument, "layer " + std::to_string(layer) + " of " +
                                                 std::to_string(num_layers()) + " layers");
  }
  const LayerLinks& links = parts_.layers[layer];
  return {links.row_offsets, links.neighbours, size()};
}

std::span<const Node> GraphSnapshot::neighbours(Node node, std::size_t layer) const {
  if (layer > parts_.levels[node]) return {};
  const LayerLinks& links = parts_.layers[layer];
  const std::size_t row =
      layer == 0 ? node : contents_->upper_rows[contents_->upper_begin[node] + layer - 1];
  return std::span(links.neighbours)
      .subspan(links.row_offsets[row], links.row_offsets[row + 1] - links.row_offsets[row]);
}

double GraphSnapshot::average_degree(std::size_t layer) const {
  const CsrView links = edges(layer);
  return static_cast<double>(links.entries()) / static_cast<double>(links.rows());
}

std::size_t GraphSnapshot::adaptive_window() const {
  return static_cast<std::size_t>(std::lround(2 * average_degree(0)));
}

GraphSnapshot::MemoryUsage GraphSnapshot::memory_usage() const {
  MemoryUsage usage;
  usage.vectors = parts_.vectors.rows() * parts_.vectors.stride() * sizeof(float);
  if (kept_.data() != codes_.data()) usage.vectors += kept_.bytes();
  usage.codes = codes_.bytes();
  for (const LayerLinks& layer : parts_.layers) {
    usage.links += layer.nodes.capacity() * sizeof(Node) +
                   layer.row_offsets.capacity() * sizeof(std::uint64_t) +
                   layer.neighbours.capacity() * sizeof(Node);
  }
  usage.ids = parts_.ids.capacity() * sizeof(Id) + contents_->nodes_by_id.capacity() * sizeof(Node);
  usage.other = sizeof(*this) + sizeof(Contents) + parts_.levels.capacity() +
                contents_->upper_begin.capacity() * sizeof(std::uint64_t) +
                contents_->upper_rows.capacity() * sizeof(Node);
  return usage;
}

}  // namespace halo
