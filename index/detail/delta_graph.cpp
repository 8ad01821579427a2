#include "halo/index/detail/delta_graph.h"

#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/index/detail/filtered_walk.h"
#include "halo/index/detail/levels.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/scan.h"

namespace halo::detail {
namespace {

// Rows scored at once when all are.
constexpr std::size_t kBlock = 128;

template <class T>
AlignedArray<T> allocate_rows(std::size_t rows, std::size_t values) {
  constexpr std::size_t kMost = std::size_t{1} << 48U;
  if (values != 0 && rows > kMost / values) throw std::bad_alloc();
  AlignedArray<T> memory(static_cast<T*>(allocate_aligned(rows * values * sizeof(T))));
  if (!memory) throw std::bad_alloc();
  return memory;
}

}  // namespace

struct DeltaGraph::LinkedRows {
  const DeltaGraph& delta;
  std::size_t layer;
  Node linked;
  std::vector<Node>& copied;

  std::span<const Node> operator()(Node row) const {
    const Word* words = delta.list(row, layer);
    const Node count = words[0].load(std::memory_order_relaxed);
    if (copied.size() < count) copied.resize(delta.limit(0));
    std::size_t kept = 0;
    for (Node i = 1; i <= count; ++i) {
      const Node next = words[i].load(std::memory_order_relaxed);
      copied[kept] = next;
      kept += next < linked ? 1 : 0;
    }
    return {copied.data(), kept};
  }
  void prefetch(Node row) const {
    const Word* words = delta.list(row, layer);
    __builtin_prefetch(words);
    __builtin_prefetch(words + 16);
  }
};

DeltaGraph::DeltaGraph(const DeltaOptions& options, std::size_t capacity)
    : options_(options),
      stored_(options.metric, options.codes, options.dim),
      capacity_(capacity),
      stride_(padded_width(options.dim)),
      vectors_(allocate_rows<float>(capacity, stride_)),
      ids_(std::make_unique<Id[]>(capacity)),
      levels_(std::make_unique<std::uint8_t[]>(capacity)),
      links_(std::make_unique<Word[]>(capacity * (limit(0) + 1))),
      upper_(std::make_unique<std::unique_ptr<Word[]>[]>(capacity)),
      links_to_(capacity, 0) {
  if (options.codes != CodeKind::kF32) {
    codes_ = allocate_rows<std::byte>(capacity, stored_.bytes);
    stored_.set_scale(options.codes == CodeKind::kInt8 ? options.quantiser.scale : 1);
  }
  candidates_.reserve(limit(0) + 1);
  kept_.reserve(limit(0) + 1);
  left_out_.reserve(limit(0) + 1);
}

DeltaGraph::~DeltaGraph() = default;

std::size_t DeltaGraph::bytes(const DeltaOptions& options, std::size_t capacity) {
  const StoredRows stored(options.metric, options.codes, options.dim);
  const std::size_t M = options.M;
  const std::size_t vector = padded_width(options.dim) * sizeof(float);
  const std::size_t row = vector + (options.codes == CodeKind::kF32 ? 0 : stored.bytes) +
                          sizeof(Id) + sizeof(std::uint8_t) + (2 * M + 1) * sizeof(Word) +
                          sizeof(std::unique_ptr<Word[]>) + sizeof(std::uint32_t);
  // One row in M - 1 has lists above layer 0, once for each layer.
  const std::size_t upper = capacity / (M - 1) + capacity / (8 * M) + 64;
  return capacity * row + upper * ((M + 1) * sizeof(Word) + 16);
}

std::shared_ptr<DeltaGraph> DeltaGraph::with_capacity(std::size_t capacity) const {
  auto copy = std::make_shared<DeltaGraph>(options_, capacity);
  const std::size_t rows = mark_.rows;
  std::copy_n(vectors_.get(), rows * stride_, copy->vectors_.get());
  if (codes_) std::copy_n(codes_.get(), rows * stored_.bytes, copy->codes_.get());
  std::copy_n(ids_.get(), rows, copy->ids_.get());
  std::copy_n(levels_.get(), rows, copy->levels_.get());
  std::copy_n(links_to_.begin(), rows, copy->links_to_.begin());
  const auto copy_words = [](const Word* from, std::size_t count, Word* to) {
    for (std::size_t i = 0; i < count; ++i) to[i].store(from[i].load(std::memory_order_relaxed));
  };
  copy_words(links_.get(), rows * (limit(0) + 1), copy->links_.get());
  for (std::size_t row = 0; row < mark_.linked; ++row) {
    if (levels_[row] == 0) continue;
    const std::size_t words = levels_[row] * (limit(1) + 1);
    copy->upper_[row] = std::make_unique<Word[]>(words);
    copy_words(upper_[row].get(), words, copy->upper_[row].get());
  }
  copy->mark_ = mark_;
  return copy;
}

DeltaGraph::Word* DeltaGraph::list(Node row, std::size_t layer) const {
  if (layer == 0) return links_.get() + row * (limit(0) + 1);
  return upper_[row].get() + (layer - 1) * (limit(1) + 1);
}

std::byte* DeltaGraph::codes(Node row) const {
  if (codes_) return codes_.get() + row * stored_.bytes;
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): rows are counted in bytes
  return reinterpret_cast<std::byte*>(vectors_.get() + row * stride_);
}

RowScorer DeltaGraph::query_scorer(const float* query, QueryBuffer& buffer) const {
  return stored_.query_scorer(codes(0), stored_.bytes, options_.quantiser, query, buffer);
}

void DeltaGraph::append(const float* vector, Id id) {
  const Node row = mark_.rows;
  float* out = vectors_.get() + row * stride_;
  std::copy_n(vector, options_.dim, out);
  std::fill(out + options_.dim, out + stride_, 0.0F);
  if (codes_) {
    encode_row(options_.codes, options_.quantiser, {vector, options_.dim}, codes(row));
  }
  ids_[row] = id;
  ++mark_.rows;
}

void DeltaGraph::truncate(Node rows) { mark_.rows = rows; }

// The greedy walk from the top down to the layer above `layer`.
Node DeltaGraph::descend(const DeltaMark& mark, const RowScorer& score, std::size_t layer,
                         std::vector<Node>& links, std::vector<float>& distances) const {
  Node current = mark.entry;
  float nearest = score.one(current);
  for (std::size_t l = mark.top; l > layer; --l) {
    const LinkedRows rows{*this, l, mark.linked, links};
    for (bool changed = true; changed;) {
      changed = false;
      const std::span<const Node> row = rows(current);
      if (distances.size() < row.size()) distances.resize(row.size());
      score(row.data(), row.size(), distances.data());
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (distances[i] < nearest) {
          nearest = distances[i];
          current = row[i];
          changed = true;
        }
      }
    }
  }
  return current;
}

// Leaves linked rows in the pool, perhaps some that are not allowed among them. Where most are
// allowed, a plain walk with more candidates is cheaper than one that asks for each.
void DeltaGraph::walk_allowed(const DeltaMark& mark, const RowScorer& score, std::size_t k,
                              std::size_t ef, const Allows& allows, double share,
                              DeltaScratch& scratch) const {
  constexpr double kMost = 0.5;
  auto& walk = scratch.walk;
  const Node start = descend(mark, score, 0, scratch.nodes, walk.distances);
  const LinkedRows rows{*this, 0, mark.linked, scratch.nodes};
  if (!allows) {
    walk_layer(score, mark.linked, start, ef, rows, walk);
    return;
  }
  if (share >= kMost) {
    walk_layer(score, mark.linked, start, widened(k, ef, share), rows, walk);
    std::size_t found = 0;
    for (std::size_t i = 0; i < walk.pool.size() && found < k; ++i) {
      found += allows(walk.pool.node(i)) ? 1 : 0;
    }
    if (found >= k) return;
  }
  walk_layer_filtered(score, mark.linked, start, ef, rows, allows, walk);
}

void DeltaGraph::search(const DeltaMark& mark, const float* query, std::size_t k, std::size_t ef,
                        const Allows& allows, double share, DeltaScratch& scratch) const {
  auto& [walk, buffer, nodes, nearest] = scratch;
  const RowScorer score = query_scorer(query, buffer);
  ef = std::clamp<std::size_t>(ef, 1, std::max<std::size_t>(mark.rows, 1));
  walk.pool.reset(ef);
  if (mark.linked != 0) walk_allowed(mark, score, k, ef, allows, share, scratch);
  nodes.clear();
  for (Node row = mark.linked; row < mark.rows; ++row) {
    if (!allows || allows(row)) nodes.push_back(row);
  }
  if (walk.distances.size() < nodes.size()) walk.distances.resize(nodes.size());
  score(nodes.data(), nodes.size(), walk.distances.data());
  for (std::size_t i = 0; i < nodes.size(); ++i) walk.pool.offer(walk.distances[i], nodes[i]);

  const bool lossless = !codes_ || options_.quantiser.lossless;
  const std::size_t keep = lossless ? k : 2 * k + 16;
  nodes.clear();
  for (std::size_t i = 0; i < walk.pool.size() && nodes.size() < keep; ++i) {
    const Node row = walk.pool.node(i);
    if (!allows || allows(row)) nodes.push_back(row);
  }
  const std::size_t count = nodes.size();
  if (walk.distances.size() < count) walk.distances.resize(count);
  const MatrixView vectors(vectors_.get(), mark.rows, options_.dim, stride_);
  f32_scorer(options_.metric, vectors, query)(nodes.data(), count, walk.distances.data());
  nearest.clear();
  for (std::size_t i = 0; i < count; ++i) nearest.push_back({walk.distances[i], nodes[i]});
}

void DeltaGraph::scan(const DeltaMark& mark, const float* query, std::size_t k,
                      const Allows& allows, DeltaScratch& scratch) const {
  auto& [walk, buffer, nodes, nearest] = scratch;
  const MatrixView vectors(vectors_.get(), mark.rows, options_.dim, stride_);
  const RowScorer score = f32_scorer(options_.metric, vectors, query);
  walk.pool.reset(std::clamp<std::size_t>(k, 1, std::max<std::size_t>(mark.rows, 1)));
  for (Node row = 0; row < mark.rows;) {
    nodes.clear();
    for (; row < mark.rows && nodes.size() < kBlock; ++row) {
      if (!allows || allows(row)) nodes.push_back(row);
    }
    if (walk.distances.size() < nodes.size()) walk.distances.resize(nodes.size());
    score(nodes.data(), nodes.size(), walk.distances.data());
    for (std::size_t i = 0; i < nodes.size(); ++i) walk.pool.offer(walk.distances[i], nodes[i]);
  }
  nearest.clear();
  for (std::size_t i = 0; i < walk.pool.size(); ++i) {
    nearest.push_back({walk.pool.distance(i), walk.pool.node(i)});
  }
}

// Keeps up to `limit` of the ascending candidates_ in kept_, each nearer to the new row than to any
// kept before it (the paper's algorithm 4); the others go to left_out_ as far as it has room.
void DeltaGraph::select(std::size_t limit) {
  kept_.clear();
  left_out_.clear();
  for (const Neighbour& candidate : candidates_) {
    const bool keep = kept_.size() < limit &&
                      std::all_of(kept_.begin(), kept_.end(), [&](const Neighbour& other) {
                        return between(candidate.node, other.node) >= candidate.distance;
                      });
    if (keep) {
      kept_.push_back(candidate);
    } else if (left_out_.size() < left_out_.capacity()) {
      left_out_.push_back(candidate);
    }
  }
}

void DeltaGraph::set_links(Node row, std::size_t layer, std::span<const Neighbour> links) {
  Word* words = list(row, layer);
  for (std::size_t i = 0; i < links.size(); ++i) {
    words[i + 1].store(links[i].node, std::memory_order_relaxed);
  }
  words[0].store(static_cast<Node>(links.size()), std::memory_order_relaxed);
}

// Adds the link row -> to, where it is worth its place.
void DeltaGraph::connect(Node row, Node to, std::size_t layer) {
  Word* words = list(row, layer);
  const Node count = words[0].load(std::memory_order_relaxed);
  if (count == limit(layer)) {
    prune(row, layer, {between(row, to), to});
    return;
  }
  words[count + 1].store(to, std::memory_order_relaxed);
  words[0].store(count + 1, std::memory_order_relaxed);
  if (layer == 0) ++links_to_[to];
}

void DeltaGraph::prune(Node row, std::size_t layer, const Neighbour& added) {
  candidates_.assign(1, added);
  for (const Node next : LinkedRows{*this, layer, mark_.rows, copied_}(row)) {
    candidates_.push_back({between(row, next), next});
  }
  std::sort(candidates_.begin(), candidates_.end(), nearer);
  select(limit(layer));
  if (layer == 0) {
    // hnswlib now and then drops the last link to a row, which no search finds any more.
    for (const Neighbour& other : left_out_) {
      if (other.node == added.node) continue;
      if (links_to_[other.node] == 1 && kept_.size() < limit(0)) {
        kept_.push_back(other);
      } else {
        --links_to_[other.node];
      }
    }
    const auto is_added = [&](const Neighbour& seen) { return seen.node == added.node; };
    if (std::any_of(kept_.begin(), kept_.end(), is_added)) ++links_to_[added.node];
  }
  set_links(row, layer, kept_);
}

void DeltaGraph::link_next() {
  const Node row = mark_.linked;
  const std::uint8_t level = level_of(options_.seed, row, options_.M);
  // Whatever can fail comes first.
  std::unique_ptr<Word[]> upper;
  if (level != 0) upper = std::make_unique<Word[]>(level * (limit(1) + 1));
  copied_.resize(limit(0));
  const std::size_t shared = row == 0 ? 0 : std::min(level, mark_.top) + std::size_t{1};
  if (selected_.size() < shared) selected_.resize(shared);
  if (row != 0) {
    const RowScorer score = stored_.scorer(codes(0), stored_.bytes, codes(row), buffers_);
    Node current = descend(mark_, score, level, copied_, walk_.distances);
    for (std::size_t layer = shared; layer-- > 0;) {
      walk_layer(
          score, mark_.linked, current,
          std::min<std::size_t>(std::max(options_.ef_construction, options_.M), mark_.linked),
          LinkedRows{*this, layer, mark_.linked, copied_}, walk_);
      candidates_.clear();
      for (std::size_t i = 0; i < walk_.pool.size(); ++i) {
        candidates_.push_back({walk_.pool.distance(i), walk_.pool.node(i)});
      }
      current = candidates_.front().node;
      select(options_.M);
      selected_[layer] = kept_;
    }
  }

  upper_[row] = std::move(upper);
  levels_[row] = level;
  links_to_[row] = 0;
  ++mark_.linked;
  for (std::size_t layer = 0; layer < shared; ++layer) {
    set_links(row, layer, selected_[layer]);
    for (const Neighbour& neighbour : selected_[layer]) {
      if (layer == 0) ++links_to_[neighbour.node];
      connect(neighbour.node, row, layer);
    }
  }
  if (row == 0 || level > mark_.top) {
    mark_.entry = row;
    mark_.top = level;
  }
}

}  // namespace halo::detail
