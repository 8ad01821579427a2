#include "halo/index/vector_index.h"

#include <algorithm>
#include <new>
#include <numeric>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/choose_codes.h"
#include "halo/index/detail/hnsw_builder.h"
#include "halo/index/detail/levels.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/reachability.h"
#include "halo/index/memory_estimate.h"
#include "halo/index/node_order.h"

namespace halo {
namespace {

constexpr std::size_t kMaxDim = 65536;

// Copies the links of one layer, with rows as nodes.
LayerLinks copy_layer(const detail::HnswBuilder& builder, std::size_t layer,
                      const Executor& executor) {
  LayerLinks out;
  for (std::size_t row = 0; row < builder.size(); ++row) {
    if (builder.level(row) >= layer) out.nodes.push_back(static_cast<Node>(row));
  }
  out.row_offsets.assign(out.nodes.size() + 1, 0);
  for (std::size_t r = 0; r < out.nodes.size(); ++r) {
    out.row_offsets[r + 1] = out.row_offsets[r] + builder.links(out.nodes[r], layer).size();
  }
  out.neighbours.resize(out.row_offsets.back());
  executor.parallel_for(out.nodes.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t r = begin; r < end; ++r) {
      const auto links = builder.links(out.nodes[r], layer);
      std::copy(links.begin(), links.end(),
                out.neighbours.begin() + static_cast<std::ptrdiff_t>(out.row_offsets[r]));
    }
  });
  return out;
}

// The same layer with node row_to_node[row] for every row.
LayerLinks renumber(const LayerLinks& layer, const std::vector<Node>& row_to_node,
                    const Executor& executor) {
  LayerLinks out;
  const std::size_t n = layer.nodes.size();
  std::vector<std::pair<Node, std::size_t>> order(n);  // new node, old row of the layer
  for (std::size_t r = 0; r < n; ++r) order[r] = {row_to_node[layer.nodes[r]], r};
  std::sort(order.begin(), order.end());
  out.nodes.reserve(n);
  out.row_offsets.assign(1, 0);
  out.row_offsets.reserve(n + 1);
  for (const auto& [node, r] : order) {
    out.nodes.push_back(node);
    out.row_offsets.push_back(out.row_offsets.back() + layer.row_offsets[r + 1] -
                              layer.row_offsets[r]);
  }
  out.neighbours.resize(out.row_offsets.back());
  executor.parallel_for(n, 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t r = order[i].second;
      const auto to = out.neighbours.begin() + static_cast<std::ptrdiff_t>(out.row_offsets[i]);
      const auto from = layer.neighbours.begin();
      const auto last = std::transform(from + static_cast<std::ptrdiff_t>(layer.row_offsets[r]),
                                       from + static_cast<std::ptrdiff_t>(layer.row_offsets[r + 1]),
                                       to, [&](Node row) { return row_to_node[row]; });
      std::sort(to, last);
    }
  });
  return out;
}

}  // namespace

void BuildOptions::validate() const {
  if (metric != Metric::kL2 && metric != Metric::kInnerProduct && metric != Metric::kCosine) {
    throw Error(ErrorCode::kInvalidArgument,
                "unknown metric number " + std::to_string(static_cast<std::uint32_t>(metric)));
  }
  if (M < 2 || M > 256) {
    throw Error(ErrorCode::kInvalidArgument, "M is " + std::to_string(M) + ", not 2 to 256");
  }
  if (codes && code_kind_name(*codes) == "unknown") {
    throw Error(ErrorCode::kInvalidArgument,
                "unknown kind of codes " + std::to_string(static_cast<std::uint32_t>(*codes)));
  }
  if (stored && code_kind_name(*stored) == "unknown") {
    throw Error(ErrorCode::kInvalidArgument,
                "unknown kind of vectors " + std::to_string(static_cast<std::uint32_t>(*stored)));
  }
  if (ef_construction == 0) {
    throw Error(ErrorCode::kInvalidArgument, "ef_construction is 0, not at least 1");
  }
}

struct VectorIndex::Impl {
  Impl(std::size_t d, const BuildOptions& o)
      : dim(d), options(o), builder(new_builder(o.codes.value_or(CodeKind::kF32))) {}

  std::unique_ptr<detail::HnswBuilder> new_builder(CodeKind codes) const {
    return std::make_unique<detail::HnswBuilder>(options.metric, dim, options.M,
                                                 options.ef_construction, codes);
  }

  // Registers `added`, or throws and leaves both containers as they were.
  void register_ids(const std::vector<Id>& added);
  void unregister_ids(std::size_t count) noexcept;

  std::size_t dim;
  BuildOptions options;
  std::unique_ptr<detail::HnswBuilder> builder;
  std::vector<Id> ids;  // one a row of the builder
  std::unordered_set<Id> known;
};

void VectorIndex::Impl::register_ids(const std::vector<Id>& added) {
  const std::size_t before = ids.size();
  ids.insert(ids.end(), added.begin(), added.end());
  std::size_t registered = 0;
  try {
    known.reserve(ids.size());
    for (; registered < added.size(); ++registered) {
      if (!known.insert(added[registered]).second) {
        throw Error(ErrorCode::kDuplicateId, "id " + std::to_string(added[registered]) +
                                                 " of vector " + std::to_string(registered) +
                                                 " is there already");
      }
    }
  } catch (...) {
    for (std::size_t i = 0; i < registered; ++i) known.erase(added[i]);
    ids.resize(before);
    throw;
  }
}

void VectorIndex::Impl::unregister_ids(std::size_t count) noexcept {
  for (; count > 0; --count) {
    known.erase(ids.back());
    ids.pop_back();
  }
}

VectorIndex::VectorIndex(std::size_t dim, const BuildOptions& options) try {
  if (dim == 0 || dim > kMaxDim) {
    throw Error(ErrorCode::kInvalidArgument,
                "dimension is " + std::to_string(dim) + ", not 1 to " + std::to_string(kMaxDim));
  }
  options.validate();
  impl_ = std::make_unique<Impl>(dim, options);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for an index"; });
}

VectorIndex VectorIndex::resume(const GraphSnapshot& snapshot, const Executor& executor,
                                bool deterministic) try {
  BuildOptions options;
  options.metric = snapshot.metric();
  options.M = snapshot.M();
  options.ef_construction = snapshot.ef_construction();
  options.seed = snapshot.seed();
  options.deterministic = deterministic;
  options.codes = snapshot.codes().kind();
  // Whether bytes stay bytes, the vectors to come decide.
  if (snapshot.stored() != CodeKind::kInt8) options.stored = snapshot.stored();
  VectorIndex index(snapshot.dim(), options);
  index.impl_->register_ids({snapshot.ids().begin(), snapshot.ids().end()});
  index.impl_->builder->restore(snapshot, executor);
  return index;
} catch (const std::bad_alloc&) {
  throw_out_of_memory(
      [&] { return "no memory to go on with " + std::to_string(snapshot.size()) + " vectors"; });
}

VectorIndex::~VectorIndex() = default;
VectorIndex::VectorIndex(VectorIndex&&) noexcept = default;
VectorIndex& VectorIndex::operator=(VectorIndex&&) noexcept = default;

void VectorIndex::add(const MatrixView& vectors, const Executor& executor, const Job& job) {
  add(vectors, {}, executor, job);
}

void VectorIndex::add(const MatrixView& vectors, std::span<const Id> ids, const Executor& executor,
                      const Job& job) try {
  const std::size_t n = vectors.rows;
  if (vectors.cols != dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "vectors of " + std::to_string(vectors.cols) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(dim()));
  }
  if (vectors.stride < vectors.cols) {
    throw Error(ErrorCode::kInvalidArgument, "the stride of vectors is less than their dimension");
  }
  if (!ids.empty() && ids.size() != n) {
    throw Error(ErrorCode::kInvalidArgument,
                std::to_string(ids.size()) + " ids for " + std::to_string(n) + " vectors");
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) {
      throw Error(ErrorCode::kInvalidArgument, "id " + std::to_string(ids[i]) + " of vector " +
                                                   std::to_string(i) + " is negative");
    }
  }
  if (n == 0) return;

  const std::size_t before = size(), limit = impl_->options.memory_limit;
  if (limit != 0) {
    check_memory_limit(
        estimate_growth(before, impl_->builder->capacity(), n, dim(), impl_->options), limit,
        "adding these vectors and sealing the index");
  }
  std::vector<Id> added(ids.begin(), ids.end());
  if (ids.empty()) {
    added.resize(n);
    std::iota(added.begin(), added.end(), static_cast<Id>(before));
  }
  std::vector<std::uint8_t> levels(n);
  for (std::size_t i = 0; i < n; ++i) {
    levels[i] = detail::level_of(impl_->options.seed, before + i, impl_->options.M);
  }
  impl_->register_ids(added);
  try {
    if (before == 0 && !impl_->options.codes) {
      const CodeKind codes = detail::choose_link_codes(impl_->options.metric, vectors, executor);
      if (codes != impl_->builder->codes()) impl_->builder = impl_->new_builder(codes);
    }
    const Stage stage(job, "link", n);
    impl_->builder->insert(vectors, levels, impl_->options.deterministic, executor, job);
  } catch (...) {
    impl_->unregister_ids(n);
    throw;
  }
} catch (const std::bad_alloc&) {
  throw_out_of_memory(
      [&] { return "no memory to add " + std::to_string(vectors.rows) + " vectors"; });
}

std::size_t VectorIndex::size() const { return impl_->ids.size(); }
std::size_t VectorIndex::dim() const { return impl_->dim; }
const BuildOptions& VectorIndex::options() const { return impl_->options; }
bool VectorIndex::contains(Id id) const { return impl_->known.contains(id); }

std::shared_ptr<const GraphSnapshot> VectorIndex::seal(const Executor& executor,
                                                       const Job& job) const try {
  const std::size_t n = size();
  if (n == 0) throw Error(ErrorCode::kEmpty, "an index without vectors cannot be sealed");
  const Stage stage(job, "seal", n);
  job.check();
  const detail::HnswBuilder& builder = *impl_->builder;

  std::vector<LayerLinks> layers(builder.top_layer() + 1);
  for (std::size_t l = 0; l < layers.size(); ++l) layers[l] = copy_layer(builder, l, executor);
  const std::vector<Node> node_to_row =
      reverse_cuthill_mckee({layers[0].row_offsets, layers[0].neighbours, n});
  std::vector<Node> row_to_node(n);
  for (std::size_t node = 0; node < n; ++node) {
    row_to_node[node_to_row[node]] = static_cast<Node>(node);
  }
  job.check();

  SnapshotParts parts;
  parts.metric = impl_->options.metric;
  parts.dim = dim();
  parts.M = impl_->options.M;
  parts.ef_construction = impl_->options.ef_construction;
  parts.seed = impl_->options.seed;
  for (const LayerLinks& layer : layers) {
    parts.layers.push_back(renumber(layer, row_to_node, executor));
  }
  layers.clear();
  parts.entry_point = row_to_node[builder.entry_point()];
  parts.vectors = Matrix::padded(n, dim());
  parts.ids.resize(n);
  parts.levels.resize(n);
  executor.parallel_for(n, 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t node = begin; node < end; ++node) {
      const Node row = node_to_row[node];
      std::copy_n(builder.vector(row), dim(), parts.vectors.row(node));
      parts.ids[node] = impl_->ids[row];
      parts.levels[node] = static_cast<std::uint8_t>(builder.level(row));
    }
    job.advance(end - begin);
  });
  job.check();
  detail::repair_unreachable(parts);
  auto snapshot =
      GraphSnapshot::create(std::move(parts), impl_->options.codes.value_or(CodeKind::kF32));
  if (!impl_->options.codes) {
    const CodeKind codes = detail::choose_search_codes(*snapshot, executor, job);
    if (codes != CodeKind::kF32) snapshot = snapshot->with_codes(codes);
  }
  const bool bytes = snapshot->codes().lossless() && n >= detail::kFewestCodedVectors;
  const CodeKind stored = impl_->options.stored.value_or(bytes ? CodeKind::kInt8 : CodeKind::kF32);
  return stored == CodeKind::kF32 ? snapshot : snapshot->with_vectors_as(stored);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([&] { return "no memory to seal " + std::to_string(size()) + " vectors"; });
}

}  // namespace halo
