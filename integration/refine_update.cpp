#include "halo/integration/refine_update.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/prepare_heads.h"
#include "halo/gnn/ranked_windows.h"
#include "halo/index/neighbour_windows.h"
#include "halo/integration/detail/graph_distance.h"
#include "halo/integration/index_identity.h"
#include "halo/integration/refine.h"

namespace halo {
namespace {

using gnn::kCoherenceEdges;
using gnn::kNoEdge;

constexpr Node kNoNode = 0xffffffffU;
constexpr std::size_t kRowsAtOnce = 256;
constexpr std::size_t kDriftSample = 20000;
// Where walks reach more of the index than this, every row is computed again.
constexpr double kMostOfTheIndex = 0.5;
constexpr double kMostChanged = 0.2, kMostDrift = 0.1;  // more, and the heads may not fit

std::size_t wide_window(const gnn::RefineOptions& options) {
  return options.window * options.wide_windows;
}

// Which node of the old index each node of the new one is, and back; kNoNode where it is none.
struct NodeMap {
  NodeMap(const GraphSnapshot& from, const GraphSnapshot& to)
      : old_of(to.size(), kNoNode), new_of(from.size(), kNoNode) {
    for (Node node = 0; node < to.size(); ++node) {
      const auto old = from.find(to.id(node));
      if (!old) continue;
      const auto before = from.vector(*old), now = to.vector(node);
      if (!std::equal(before.begin(), before.end(), now.begin())) continue;
      old_of[node] = *old;
      new_of[*old] = node;
      ++common;
    }
  }
  std::vector<Node> old_of, new_of;
  std::size_t common = 0;
};

// What a head makes of one vector of the index, as prepare_heads() would.
void project(const gnn::RefinementParts& parts, const gnn::RefinementHead& head,
             std::span<const float> vector, float* out, std::vector<float>& scratch) {
  std::vector<float> input(vector.begin(), vector.end());
  if (parts.unit_input) kernels::normalise(input.data(), input.size());
  scratch.resize(input.size());
  head.projection.apply(input.data(), out, scratch.data());
}

// A head as `old`, with `size` rows of nothing.
gnn::RefinementHead head_like(const gnn::RefinementHead& old, std::size_t size) {
  gnn::RefinementHead head;
  head.name = old.name;
  head.weight = old.weight;
  head.content_share = old.content_share;
  head.projection = old.projection;
  head.bars = old.bars;
  head.states = ByteMatrix(size, old.states.cols());
  head.thresholds.assign(size, 0);
  head.structure = gnn::StructureRows(size, old.structure.kept());
  return head;
}

// A head of the old model with its rows where the new index has them. New rows get their own
// projection as state and no walk. `lost` is set for rows whose walk lost a node.
gnn::RefinementHead carry_head(const gnn::RefinementParts& parts, const gnn::RefinementHead& old,
                               const GraphSnapshot& to, const NodeMap& map,
                               std::vector<std::uint8_t>& lost, const Executor& executor) {
  gnn::RefinementHead head = head_like(old, to.size());
  const std::size_t width = old.states.cols();
  const unsigned narrower =
      old.structure.root_bits() - std::min(old.structure.root_bits(), head.structure.root_bits());
  executor.parallel_for(to.size(), kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    Matrix state = Matrix::padded(1, width);
    std::vector<float> scratch;
    for (std::size_t i = begin; i < end; ++i) {
      const Node before = map.old_of[i];
      if (before == kNoNode) {
        project(parts, old, to.vector(static_cast<Node>(i)), state.row(0), scratch);
        head.states.set_row(i, ByteMatrix::quantised(state), 0);
        continue;
      }
      head.states.set_row(i, old.states, before);
      head.thresholds[i] = old.thresholds[before];
      const auto row = head.structure.row(i);
      std::size_t count = 0;
      for (const std::uint32_t entry : old.structure.row(before)) {
        const std::uint32_t root = old.structure.root_of(entry) >> narrower;
        if (root == 0) continue;
        const Node node = map.new_of[old.structure.node_of(entry)];
        if (node == kNoNode) {
          lost[i] = 1;
        } else {
          row[count++] = head.structure.entry(node, root);
        }
      }
      std::sort(row.begin(), row.begin() + static_cast<std::ptrdiff_t>(count));
    }
  });
  return head;
}

// How far the vectors' mean is from the heads', in units of the vectors' own spread around theirs.
double drift_of(const gnn::RefinementParts& parts, const GraphSnapshot& snapshot) {
  const std::size_t rows = std::min(snapshot.size(), kDriftSample), dim = snapshot.dim();
  std::vector<double> sum(dim, 0.0);
  double squares = 0;
  std::vector<float> x(dim);
  for (std::size_t i = 0; i < rows; ++i) {
    const auto vector = snapshot.vector(static_cast<Node>(i * snapshot.size() / rows));
    std::copy(vector.begin(), vector.end(), x.begin());
    if (parts.unit_input) kernels::normalise(x.data(), dim);
    for (std::size_t d = 0; d < dim; ++d) {
      sum[d] += double{x[d]};
      squares += double{x[d]} * x[d];
    }
  }
  const std::vector<float>& mean = parts.heads.front().projection.mean();
  double moved = 0, spread = squares / static_cast<double>(rows);
  for (std::size_t d = 0; d < dim; ++d) {
    const double now = sum[d] / static_cast<double>(rows);
    moved += (now - double{mean[d]}) * (now - double{mean[d]});
    spread -= now * now;
  }
  return spread > 0 ? std::sqrt(moved / spread) : 0.0;
}

void carry_edges(const gnn::RefinementParts& old, const NodeMap& map, gnn::RefinementParts& parts,
                 std::vector<std::uint8_t>& lost) {
  parts.edges.assign(parts.size * kCoherenceEdges, kNoEdge);
  for (std::size_t i = 0; i < parts.size; ++i) {
    if (map.old_of[i] == kNoNode) continue;
    std::size_t count = 0;
    for (std::size_t e = 0; e < kCoherenceEdges; ++e) {
      const std::uint32_t target = old.edges[map.old_of[i] * kCoherenceEdges + e];
      if (target == kNoEdge) break;
      const Node node = map.new_of[target];
      if (node == kNoNode) {
        lost[i] = 1;
      } else {
        parts.edges[i * kCoherenceEdges + count++] = node;
      }
    }
  }
}

gnn::RefinementParts without_rows(const gnn::RefinementParts& old) {
  gnn::RefinementParts parts;
  parts.size = old.size;
  parts.dim = old.dim;
  parts.unit_input = old.unit_input;
  parts.options = old.options;
  parts.base_coherence = old.base_coherence;
  parts.participation_ratio = old.participation_ratio;
  parts.flatness = old.flatness;
  parts.transitivity_ratio = old.transitivity_ratio;
  parts.calibrated_gate = old.calibrated_gate;
  parts.index = old.index;
  parts.changed = old.changed;
  parts.drift = old.drift;
  return parts;
}

gnn::RefinementHead copy_of(const gnn::RefinementHead& old) {
  gnn::RefinementHead head = head_like(old, old.states.rows());
  head.thresholds = old.thresholds;
  for (std::size_t i = 0; i < old.states.rows(); ++i) {
    head.states.set_row(i, old.states, i);
    std::ranges::copy(old.structure.row(i), head.structure.row(i).begin());
  }
  return head;
}

// Wide windows, walked once for every node that somebody asks for.
class WideWindows {
 public:
  WideWindows(const GraphSnapshot& snapshot, std::size_t width, const Executor& executor,
              const Job& job)
      : snapshot_(snapshot),
        width_(width),
        executor_(executor),
        job_(job),
        rows_(snapshot.size()),
        known_(snapshot.size(), 0) {}

  void find(std::span<const Node> nodes) {
    std::vector<Node> missing;
    for (const Node node : nodes) {
      if (!known_[node]) missing.push_back(node);
    }
    if (missing.empty()) return;
    const CsrMask found = neighbour_windows(snapshot_, width_, missing, executor_, job_);
    for (std::size_t r = 0; r < missing.size(); ++r) {
      rows_[missing[r]].assign(found.row(r).begin(), found.row(r).end());
      known_[missing[r]] = 1;
    }
  }
  /// Of a node that was found.
  const std::vector<Node>& row(Node node) const { return rows_[node]; }
  const GraphSnapshot& snapshot() const { return snapshot_; }

 private:
  const GraphSnapshot& snapshot_;
  std::size_t width_;
  const Executor& executor_;
  Job job_;
  std::vector<std::vector<Node>> rows_;
  std::vector<std::uint8_t> known_;
};

// A head's views of vectors, computed once for every node that somebody asks for.
class Views {
 public:
  Views(const gnn::RefinementParts& parts, const gnn::RefinementHead& head,
        const GraphSnapshot& snapshot)
      : parts_(parts), head_(head), snapshot_(snapshot), rows_(snapshot.size()) {}

  std::span<const float> operator()(Node node) {
    std::vector<float>& row = rows_[node];
    if (row.empty()) {
      row.resize(head_.projection.out_dim());
      project(parts_, head_, snapshot_.vector(node), row.data(), scratch_);
    }
    return row;
  }

 private:
  const gnn::RefinementParts& parts_;
  const gnn::RefinementHead& head_;
  const GraphSnapshot& snapshot_;
  std::vector<std::vector<float>> rows_;
  std::vector<float> scratch_;
};

// The nodes whose windows decide what `dirty` rows of one head become: those that its walks and
// layers can reach. Empty where that is most of the index.
std::vector<Node> reached(const std::vector<Node>& dirty, const gnn::RefinementParts& parts,
                          const gnn::RefinementHead& head, WideWindows& wide) {
  const gnn::RefineOptions& options = parts.options;
  const std::size_t size = wide.snapshot().size();
  // A layer more than there are, for thresholds; a step more than there are, for mutuality.
  const std::size_t layers = options.layers + 1, steps = options.structure.steps + 1;
  const std::size_t broad = std::max(options.window, options.structure.window);
  Views view(parts, head, wide.snapshot());
  std::vector<std::uint8_t> seen(size, 0);
  std::vector<Node> all = dirty, rim = dirty;
  for (const Node node : dirty) seen[node] = 1;
  std::vector<std::pair<float, Node>> order;
  for (std::size_t t = 0; t < std::max(layers, steps) && !rim.empty(); ++t) {
    wide.find(rim);
    const std::size_t width = t < layers ? broad : options.structure.window;
    std::vector<Node> next;
    for (const Node node : rim) {
      order.clear();
      for (const Node j : wide.row(node)) {
        order.emplace_back(-kernels::dot(view(node).data(), view(j).data(), view(j).size()), j);
      }
      const std::size_t kept = std::min(width, order.size());
      std::partial_sort(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(kept),
                        order.end());
      for (std::size_t e = 0; e < kept; ++e) {
        if (std::exchange(seen[order[e].second], 1) == 0) next.push_back(order[e].second);
      }
    }
    all.insert(all.end(), next.begin(), next.end());
    rim = std::move(next);
    if (static_cast<double>(all.size()) > kMostOfTheIndex * static_cast<double>(size)) return {};
  }
  wide.find(rim);
  std::sort(all.begin(), all.end());
  return all;
}

gnn::HeadPlan plan_of(const gnn::RefinementHead& head) {
  return {head.name, head.weight, head.content_share, head.projection, head.bars};
}

// The rows `dirty` of a head, from the part of the index that decides them.
void recompute_rows(const std::vector<Node>& dirty, const std::vector<Node>& deciding,
                    const gnn::RefinementParts& parts, gnn::RefinementHead& head,
                    const WideWindows& wide, const Executor& executor, const Job& job) {
  const GraphSnapshot& snapshot = wide.snapshot();
  std::vector<Node> local = deciding;
  for (const Node node : deciding) {
    local.insert(local.end(), wide.row(node).begin(), wide.row(node).end());
  }
  std::sort(local.begin(), local.end());
  local.erase(std::unique(local.begin(), local.end()), local.end());
  const auto place = [&](Node node) {
    return static_cast<std::uint32_t>(std::lower_bound(local.begin(), local.end(), node) -
                                      local.begin());
  };
  Matrix vectors = Matrix::padded(local.size(), snapshot.dim());
  for (std::size_t i = 0; i < local.size(); ++i) {
    std::ranges::copy(snapshot.vector(local[i]), vectors.row(i));
  }
  std::vector<std::vector<std::uint32_t>> rows(local.size());
  for (const Node node : deciding) {
    for (const Node j : wide.row(node)) rows[place(node)].push_back(place(j));
  }
  const CsrMask windows = CsrMask::from_rows(std::move(rows), local.size());
  const auto no_global = [](std::size_t) { return std::span<const std::uint32_t>(); };
  const std::vector<gnn::HeadPlan> plans = {plan_of(head)};
  const gnn::RefinementParts part = gnn::prepare_heads(
      vectors, parts.unit_input, windows, no_global, parts.options, plans, executor, job);
  const gnn::RefinementHead& fresh = part.heads.front();
  const unsigned narrower = fresh.structure.root_bits() - head.structure.root_bits();
  for (const Node node : dirty) {
    const std::size_t at = place(node);
    head.states.set_row(node, fresh.states, at);
    head.thresholds[node] = fresh.thresholds[at];
    const auto row = head.structure.row(node);
    std::ranges::transform(fresh.structure.row(at), row.begin(), [&](std::uint32_t entry) {
      const std::uint32_t root = fresh.structure.root_of(entry) >> narrower;
      return root == 0 ? 0U : head.structure.entry(local[fresh.structure.node_of(entry)], root);
    });
  }
}

// Every row of every head again, the heads as they are.
std::shared_ptr<const gnn::RefinementModel> recompute_all(const gnn::RefinementParts& old,
                                                          const GraphSnapshot& snapshot,
                                                          const Executor& executor,
                                                          const Job& job) {
  const auto global = [&](std::size_t layer) { return global_nodes(snapshot, layer); };
  const CsrMask windows = neighbour_windows(snapshot, wide_window(old.options), executor, job);
  std::vector<gnn::HeadPlan> plans;
  for (const gnn::RefinementHead& head : old.heads) plans.push_back(plan_of(head));
  gnn::RefinementParts fresh = gnn::prepare_heads(snapshot.vectors(), old.unit_input, windows,
                                                  global, old.options, plans, executor, job);
  gnn::RefinementParts parts = without_rows(old);
  parts.heads = std::move(fresh.heads);
  parts.global_nodes = std::move(fresh.global_nodes);
  parts.edges.resize(parts.size * kCoherenceEdges);
  executor.parallel_for(parts.size, kRowsAtOnce, [&](std::size_t begin, std::size_t end) {
    std::vector<std::pair<float, Node>> order;
    for (std::size_t i = begin; i < end; ++i) {
      detail::nearest_of_window(
          snapshot, static_cast<Node>(i), windows.row(i),
          std::span(parts.edges).subspan(i * kCoherenceEdges, kCoherenceEdges), order);
    }
  });
  return gnn::RefinementModel::create(std::move(parts));
}

}  // namespace

std::shared_ptr<const gnn::RefinementModel> carry_refinement(const gnn::RefinementModel& model,
                                                             const GraphSnapshot& stored_from,
                                                             const GraphSnapshot& stored_to,
                                                             const Executor& executor,
                                                             const Job& job) {
  const auto from_floats = stored_from.with_vectors_as(CodeKind::kF32),
             to_floats = stored_to.with_vectors_as(CodeKind::kF32);
  const GraphSnapshot &from = *from_floats, &to = *to_floats;
  const gnn::RefinementParts& old = model.parts();
  if (model.size() != from.size() || model.dim() != from.dim() || to.dim() != from.dim() ||
      to.metric() != from.metric()) {
    throw Error(ErrorCode::kModelMismatch,
                "a model of " + std::to_string(model.size()) + " vectors of dimension " +
                    std::to_string(model.dim()) + " cannot follow an index of " +
                    std::to_string(from.size()) + " of dimension " + std::to_string(from.dim()) +
                    " to one of dimension " + std::to_string(to.dim()));
  }
  job.check();
  const NodeMap map(from, to);
  gnn::RefinementParts parts = without_rows(old);
  parts.size = to.size();
  parts.index = identity_of(to);
  std::vector<std::uint8_t> touched(to.size(), 0);
  for (const gnn::RefinementHead& head : old.heads) {
    parts.heads.push_back(carry_head(old, head, to, map, touched, executor));
  }
  carry_edges(old, map, parts, touched);
  const auto global = global_nodes(to, old.options.layers - 1);
  parts.global_nodes.assign(global.begin(), global.end());

  std::vector<Node> fresh;
  for (Node node = 0; node < to.size(); ++node) {
    if (map.old_of[node] == kNoNode) fresh.push_back(node);
  }
  const CsrMask windows = neighbour_windows(to, wide_window(old.options), fresh, executor, job);
  for (std::size_t r = 0; r < fresh.size(); ++r) {
    touched[fresh[r]] = 1;
    for (const Node j : windows.row(r)) touched[j] = 1;
  }
  for (const Node node : old.dirty) {
    if (map.new_of[node] != kNoNode) touched[map.new_of[node]] = 1;
  }
  for (Node node = 0; node < to.size(); ++node) {
    if (touched[node]) parts.dirty.push_back(node);
  }
  parts.changed += fresh.size() + (from.size() - map.common);
  parts.drift = drift_of(old, to);
  return gnn::RefinementModel::create(std::move(parts));
}

std::shared_ptr<const gnn::RefinementModel> recompute_dirty(const gnn::RefinementModel& model,
                                                            const GraphSnapshot& stored,
                                                            const Executor& executor,
                                                            const Job& job) {
  const auto floats = stored.with_vectors_as(CodeKind::kF32);
  const GraphSnapshot& snapshot = *floats;
  const gnn::RefinementParts& old = model.parts();
  if (model.size() != snapshot.size() || model.dim() != snapshot.dim()) {
    throw Error(ErrorCode::kModelMismatch, "a model of " + std::to_string(model.size()) +
                                               " vectors for an index of " +
                                               std::to_string(snapshot.size()));
  }
  // With global nodes every row depends on every other.
  if (old.options.layer.global_gate != 0.0F) return recompute_all(old, snapshot, executor, job);
  WideWindows wide(snapshot, wide_window(old.options), executor, job);
  gnn::RefinementParts parts = without_rows(old);
  parts.edges = old.edges;
  parts.global_nodes = old.global_nodes;
  for (const gnn::RefinementHead& head : old.heads) {
    const std::vector<Node> deciding = reached(old.dirty, parts, head, wide);
    if (deciding.empty() && !old.dirty.empty()) {
      return recompute_all(old, snapshot, executor, job);
    }
    parts.heads.push_back(copy_of(head));
    if (old.dirty.empty()) continue;
    recompute_rows(old.dirty, deciding, parts, parts.heads.back(), wide, executor, job);
  }
  std::vector<std::pair<float, Node>> order;
  for (const Node node : old.dirty) {
    detail::nearest_of_window(
        snapshot, node, wide.row(node),
        std::span(parts.edges).subspan(node * kCoherenceEdges, kCoherenceEdges), order);
  }
  return gnn::RefinementModel::create(std::move(parts));
}

double changed_share(const gnn::RefinementParts& parts) {
  return static_cast<double>(parts.changed) / static_cast<double>(parts.size);
}

bool full_refine_advised(const gnn::RefinementParts& parts) {
  return changed_share(parts) > kMostChanged || parts.drift > kMostDrift;
}

}  // namespace halo
