#include "halo/index/detail/keep_nodes.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/index/detail/bits.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/reachability.h"
#include "halo/index/detail/scan.h"

namespace halo::detail {
namespace {

constexpr std::size_t kGrain = 256;

// Mends the rows of one layer. Nodes keep their old numbers here.
class Mender {
 public:
  Mender(const GraphSnapshot& snapshot, std::span<const std::uint64_t> kept, std::size_t layer)
      : snapshot_(snapshot),
        kept_(kept),
        layer_(layer),
        limit_(layer == 0 ? 2 * snapshot.M() : snapshot.M()),
        distance_(snapshot.metric(), snapshot.vectors().stride) {}

  /// The links of `node`, ascending: those that are kept, and in the place of the others what they
  /// led to.
  std::vector<Node> mend(Node node) const {
    const auto links = snapshot_.neighbours(node, layer_);
    std::vector<Node> chosen, candidates;
    for (const Node next : links) {
      if (test_bit(kept_, next)) {
        chosen.push_back(next);
        continue;
      }
      for (const Node beyond : snapshot_.neighbours(next, layer_)) {
        if (beyond != node && test_bit(kept_, beyond)) candidates.push_back(beyond);
      }
    }
    if (chosen.size() == links.size()) return chosen;
    std::sort(candidates.begin(), candidates.end());
    candidates.erase(std::unique(candidates.begin(), candidates.end()), candidates.end());
    choose(node, candidates, std::max(links.size(), limit_ / 2), chosen);
    std::sort(chosen.begin(), chosen.end());
    return chosen;
  }

 private:
  // First those nearer to the node than to any link chosen before, nearest first, up to the limit;
  // then the nearest of the others, up to `wanted` in all.
  void choose(Node node, const std::vector<Node>& candidates, std::size_t wanted,
              std::vector<Node>& chosen) const {
    const MatrixView vectors = snapshot_.vectors();
    std::vector<Neighbour> ascending, passed;
    for (const Node next : candidates) {
      if (std::find(chosen.begin(), chosen.end(), next) != chosen.end()) continue;
      ascending.push_back({distance_(vectors.row(node), vectors.row(next)), next});
    }
    std::sort(ascending.begin(), ascending.end(), nearer);
    for (const Neighbour& candidate : ascending) {
      if (chosen.size() >= limit_) return;
      const float* mine = vectors.row(candidate.node);
      const bool apart = std::all_of(chosen.begin(), chosen.end(), [&](Node other) {
        return distance_(mine, vectors.row(other)) >= candidate.distance;
      });
      if (apart) {
        chosen.push_back(candidate.node);
      } else {
        passed.push_back(candidate);
      }
    }
    for (const Neighbour& candidate : passed) {
      if (chosen.size() >= wanted) return;
      chosen.push_back(candidate.node);
    }
  }

  const GraphSnapshot& snapshot_;
  std::span<const std::uint64_t> kept_;
  std::size_t layer_, limit_;
  MetricDistance distance_;
};

// One layer of the kept nodes, with `number` the new number of every old node.
LayerLinks mend_layer(const GraphSnapshot& snapshot, std::span<const std::uint64_t> kept,
                      std::size_t layer, const std::vector<Node>& number, const Executor& executor,
                      const Job& job) {
  std::vector<Node> old;
  for (const Node node : snapshot.layer_nodes(layer)) {
    if (test_bit(kept, node)) old.push_back(node);
  }
  const Mender mender(snapshot, kept, layer);
  std::vector<std::vector<Node>> rows(old.size());
  executor.parallel_for(old.size(), kGrain, [&](std::size_t begin, std::size_t end) {
    job.check();
    for (std::size_t r = begin; r < end; ++r) rows[r] = mender.mend(old[r]);
  });
  LayerLinks out;
  out.row_offsets.assign(1, 0);
  for (std::size_t r = 0; r < old.size(); ++r) {
    out.nodes.push_back(number[old[r]]);
    // Numbers keep the order of nodes, so rows stay ascending.
    for (const Node next : rows[r]) out.neighbours.push_back(number[next]);
    out.row_offsets.push_back(out.neighbours.size());
  }
  return out;
}

}  // namespace

std::shared_ptr<const GraphSnapshot> keep_nodes(const GraphSnapshot& stored,
                                                std::span<const std::uint64_t> kept,
                                                const Executor& executor, const Job& job) {
  const auto floats = stored.with_vectors_as(CodeKind::kF32);
  const GraphSnapshot& snapshot = *floats;
  std::vector<Node> old, number(snapshot.size(), 0);
  for (Node node = 0; node < snapshot.size(); ++node) {
    if (!test_bit(kept, node)) continue;
    number[node] = static_cast<Node>(old.size());
    old.push_back(node);
  }
  if (old.empty()) throw Error(ErrorCode::kEmpty, "a snapshot without vectors cannot be made");
  const Stage stage(job, "compact", snapshot.num_layers());

  SnapshotParts parts;
  parts.metric = snapshot.metric();
  parts.dim = snapshot.dim();
  parts.M = snapshot.M();
  parts.ef_construction = snapshot.ef_construction();
  parts.seed = snapshot.seed();
  for (std::size_t layer = 0; layer < snapshot.num_layers(); ++layer) {
    LayerLinks links = mend_layer(snapshot, kept, layer, number, executor, job);
    if (links.nodes.empty()) break;  // the layers above it are empty too
    parts.layers.push_back(std::move(links));
    job.advance(1);
  }
  const Node entry = snapshot.entry_point();
  parts.entry_point = test_bit(kept, entry) ? number[entry] : parts.layers.back().nodes.front();
  parts.vectors = Matrix::padded(old.size(), snapshot.dim());
  parts.ids.resize(old.size());
  parts.levels.resize(old.size());
  executor.parallel_for(old.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t node = begin; node < end; ++node) {
      std::copy_n(snapshot.vectors().row(old[node]), snapshot.dim(), parts.vectors.row(node));
      parts.ids[node] = snapshot.id(old[node]);
      parts.levels[node] = snapshot.levels()[old[node]];
    }
  });
  repair_unreachable(parts);
  const auto kept_nodes = GraphSnapshot::create(std::move(parts), snapshot.codes().kind());
  return kept_nodes->with_vectors_as(stored.stored());
}

}  // namespace halo::detail
