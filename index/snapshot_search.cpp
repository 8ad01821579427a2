#include "halo/index/snapshot_search.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <optional>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/row_scorer.h"
#include "halo/index/detail/scan.h"

namespace halo {
namespace {

using detail::RowScorer;

// hnswlib's greedy walk through the layers above 0.
Node descend(const GraphSnapshot& snapshot, const RowScorer& score, std::vector<float>& distances) {
  Node current = snapshot.entry_point();
  if (snapshot.num_layers() == 1) return current;
  float nearest = score.one(current);
  for (std::size_t layer = snapshot.num_layers() - 1; layer > 0; --layer) {
    for (bool changed = true; changed;) {
      changed = false;
      const auto links = snapshot.neighbours(current, layer);
      if (distances.size() < links.size()) distances.resize(links.size());
      score(links.data(), links.size(), distances.data());
      for (std::size_t i = 0; i < links.size(); ++i) {
        if (distances[i] < nearest) {
          nearest = distances[i];
          current = links[i];
          changed = true;
        }
      }
    }
  }
  return current;
}

// Walking to `ef` allowed nodes costs about ef n / allowed expansions, several distances each; a
// scan costs `allowed` distances and misses nothing.
bool scan_is_cheaper(std::size_t allowed, std::size_t ef, std::size_t n) {
  constexpr double kDistancesAnExpansion = 4;
  return static_cast<double>(allowed) * static_cast<double>(allowed) <=
         kDistancesAnExpansion * static_cast<double>(ef) * static_cast<double>(n);
}

}  // namespace

struct SearchScratch::Impl {
  detail::WalkScratch walk;
  AlignedBuffer<float> query;
  detail::QueryBuffer codes;
  std::vector<Node> nodes;            // candidates to score exactly
  std::vector<Neighbour> neighbours;  // with their distances
};

SearchScratch::SearchScratch() : impl_(std::make_unique<Impl>()) {}
SearchScratch::~SearchScratch() = default;
SearchScratch::SearchScratch(SearchScratch&&) noexcept = default;
SearchScratch& SearchScratch::operator=(SearchScratch&&) noexcept = default;

Filter Filter::of_bits(std::shared_ptr<const std::vector<std::uint64_t>> bits) {
  if (!bits) throw Error(ErrorCode::kInvalidArgument, "filter: no bitset");
  Filter filter;
  filter.bits_ = std::move(bits);
  for (const std::uint64_t word : *filter.bits_) {
    filter.count_ += static_cast<std::size_t>(std::popcount(word));
  }
  return filter;
}

Filter Filter::of_ids(const GraphSnapshot& snapshot, std::span<const Id> ids) {
  auto bits = std::make_shared<std::vector<std::uint64_t>>((snapshot.size() + 63) / 64, 0);
  for (const Id id : ids) {
    const std::optional<Node> node = snapshot.find(id);
    if (!node) {
      throw Error(ErrorCode::kUnknownId, "filter: the index holds no id " + std::to_string(id));
    }
    (*bits)[*node / 64] |= std::uint64_t{1} << (*node % 64);
  }
  return of_bits(std::move(bits));
}

Filter Filter::of_predicate(std::function<bool(Node)> allowed) {
  if (!allowed) throw Error(ErrorCode::kInvalidArgument, "filter: no predicate");
  Filter filter;
  filter.predicate_ = std::move(allowed);
  return filter;
}

void Filter::validate(std::size_t size) const {
  if (bits_ && bits_->size() < (size + 63) / 64) {
    throw Error(ErrorCode::kInvalidArgument, "filter: " + std::to_string(bits_->size() * 64) +
                                                 " bits for " + std::to_string(size) + " vectors");
  }
}

void SearchOptions::validate(const GraphSnapshot& snapshot) const {
  if (k == 0 || k > snapshot.size()) {
    throw Error(ErrorCode::kInvalidArgument, "k is " + std::to_string(k) + ", not 1 to " +
                                                 std::to_string(snapshot.size()) +
                                                 ", the number of vectors");
  }
  if (ef == 0) throw Error(ErrorCode::kInvalidArgument, "ef is 0, not at least 1");
  filter.validate(snapshot.size());
}

void validate_query(const GraphSnapshot& snapshot, std::span<const float> query) {
  detail::check_dimension(snapshot, query.size());
  std::vector<float> copy(snapshot.dim());
  detail::store_vector(snapshot.metric(), query.data(), query.size(), "the query", copy.data());
}

namespace {

// The query as the vectors are stored, padded.
const float* prepare_query(const GraphSnapshot& snapshot, std::span<const float> query,
                           AlignedBuffer<float>& buffer) {
  const std::size_t width = snapshot.vectors().stride;
  float* prepared = buffer.resize(width);
  detail::store_vector(snapshot.metric(), query.data(), query.size(), "the query", prepared);
  std::fill(prepared + query.size(), prepared + width, 0.0F);
  return prepared;
}

std::size_t rescore_count(const GraphSnapshot& snapshot, const SearchOptions& options) {
  if (options.rescore != 0) return std::max(options.rescore, options.k);
  return snapshot.codes().lossless() ? options.k : 2 * options.k + 16;
}

// The pool's first `count` candidates into scratch.neighbours; where the walk was on codes, with
// the distances that `exact` gives and in their order.
void collect(const detail::CandidatePool& pool, const RowScorer* exact, std::size_t count,
             SearchScratch::Impl& scratch) {
  count = std::min(count, pool.size());
  auto& neighbours = scratch.neighbours;
  neighbours.resize(count);
  for (std::size_t i = 0; i < count; ++i) neighbours[i] = {pool.distance(i), pool.node(i)};
  if (exact == nullptr) return;
  scratch.nodes.resize(count);
  auto& distances = scratch.walk.distances;
  if (distances.size() < count) distances.resize(count);
  for (std::size_t i = 0; i < count; ++i) scratch.nodes[i] = neighbours[i].node;
  (*exact)(scratch.nodes.data(), count, distances.data());
  for (std::size_t i = 0; i < count; ++i) neighbours[i].distance = distances[i];
  std::sort(neighbours.begin(), neighbours.end(), detail::nearer);
}

}  // namespace

std::size_t search(const GraphSnapshot& snapshot, std::span<const float> query,
                   const SearchOptions& options, SearchScratch& scratch, std::span<Neighbour> out) {
  options.validate(snapshot);
  detail::check_dimension(snapshot, query.size());
  detail::check_output(options, out.size());
  SearchScratch::Impl& impl = scratch.impl();
  detail::WalkScratch& walk = impl.walk;
  const float* prepared = prepare_query(snapshot, query, impl.query);
  const RowScorer exact = detail::f32_scorer(snapshot.metric(), snapshot.vectors(), prepared);
  const bool coded = snapshot.codes().kind() != CodeKind::kF32 && !options.exact_walk;
  const RowScorer score = coded ? detail::code_scorer(snapshot.metric(), snapshot.codes(),
                                                      snapshot.dim(), prepared, impl.codes)
                                : exact;

  const std::size_t n = snapshot.size(), ef = std::min(n, std::max(options.ef, options.k));
  const Filter& filter = options.filter;
  const std::optional<std::size_t> allowed = filter.count();
  if (allowed && scan_is_cheaper(*allowed, ef, n)) {
    return detail::scan_nearest(snapshot, prepared, options, impl.neighbours, out);
  }
  const Node start = descend(snapshot, score, walk.distances);
  const detail::CsrRows rows = detail::layer0_rows(snapshot.parts().layers[0]);
  if (filter.empty()) {
    detail::walk_layer(score, n, start, ef, rows, walk);
  } else {
    detail::walk_layer_filtered(
        score, n, start, ef, rows, [&](Node node) { return filter.allows(node); }, walk);
  }
  if (walk.pool.size() < options.k && walk.visited.count() < n) {
    // The walk ended in a part of the graph that has no way out: look at everything.
    return detail::scan_nearest(snapshot, prepared, options, impl.neighbours, out);
  }
  collect(walk.pool, coded ? &exact : nullptr, rescore_count(snapshot, options), impl);
  return detail::copy_results(impl.neighbours, options.k, out);
}

SearchResults search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                           const SearchOptions& options, const Executor& executor, const Job& job) {
  options.validate(snapshot);
  detail::check_queries(snapshot, queries, executor);
  SearchResults results = detail::make_results(queries.rows, options.k);
  std::vector<SearchScratch> scratch(executor.threads());
  const Stage stage(job, "search", queries.rows);
  executor.parallel_for_workers(
      queries.rows, 8, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job.check();
        for (std::size_t q = begin; q < end; ++q) {
          results.found[q] =
              search(snapshot, queries.row_span(q), options, scratch[worker],
                     std::span(results.neighbours).subspan(q * options.k, options.k));
        }
        job.advance(end - begin);
      });
  return results;
}

}  // namespace halo
