#include "halo/index/snapshot_search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/batch_order.h"
#include "halo/index/detail/filtered_walk.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/query_walk.h"
#include "halo/index/detail/scan.h"

namespace halo {

struct SearchScratch::Impl {
  detail::WalkScratch walk;
  detail::BridgeScratch bridge;
  detail::QueryMemory query;
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

Filter Filter::of_ids(const GraphSnapshot& snapshot, std::span<const Id> ids) try {
  auto bits = std::make_shared<std::vector<std::uint64_t>>((snapshot.size() + 63) / 64, 0);
  for (const Id id : ids) {
    const std::optional<Node> node = snapshot.find(id);
    if (!node) {
      throw Error(ErrorCode::kUnknownId, "filter: the index holds no id " + std::to_string(id));
    }
    (*bits)[*node / 64] |= std::uint64_t{1} << (*node % 64);
  }
  return of_bits(std::move(bits));
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a filter"; });
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

void validate_query(const GraphSnapshot& snapshot, std::span<const float> query) try {
  detail::check_dimension(snapshot, query.size());
  std::vector<float> copy(snapshot.dim());
  detail::store_vector(snapshot.metric(), query.data(), query.size(), "the query", copy.data());
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to check a query"; });
}

namespace {

// The pool's first `count` allowed candidates into scratch.neighbours; where the walk was on codes,
// with the distances that `exact` gives and in their order.
void collect(const Filter& filter, const detail::RowScorer* exact, std::size_t count,
             SearchScratch::Impl& scratch) {
  const detail::CandidatePool& pool = scratch.walk.pool;
  auto& neighbours = scratch.neighbours;
  neighbours.clear();
  for (std::size_t i = 0; i < pool.size() && neighbours.size() < count; ++i) {
    if (filter.empty() || filter.allows(pool.node(i))) {
      neighbours.push_back({pool.distance(i), pool.node(i)});
    }
  }
  if (exact == nullptr) return;
  count = neighbours.size();
  scratch.nodes.resize(count);
  auto& distances = scratch.walk.distances;
  if (distances.size() < count) distances.resize(count);
  for (std::size_t i = 0; i < count; ++i) scratch.nodes[i] = neighbours[i].node;
  (*exact)(scratch.nodes.data(), count, distances.data());
  for (std::size_t i = 0; i < count; ++i) neighbours[i].distance = distances[i];
  std::sort(neighbours.begin(), neighbours.end(), detail::nearer);
}

// Leaves candidates in scratch.walk.pool, perhaps some that are not allowed among them. `keep`: how
// many a scan must keep. `start`: kNoNode where it is yet to be found.
void find_allowed(const GraphSnapshot& snapshot, const detail::RowScorer& score, Node start,
                  std::size_t ef, std::size_t keep, const SearchOptions& options,
                  SearchScratch::Impl& scratch) {
  const Filter& filter = options.filter;
  const std::size_t n = snapshot.size();
  detail::WalkScratch& walk = scratch.walk;
  const detail::CsrRows rows = detail::layer0_rows(snapshot.parts().layers[0]);
  const auto begin = [&] {
    return start != kNoNode ? start : detail::descend(snapshot, score, walk.distances);
  };
  if (filter.empty()) {
    detail::walk_layer(score, n, begin(), ef, rows, walk);
    return;
  }
  const double share = detail::allowed_share(filter, n);
  const auto plan =
      detail::plan_filter(filter, share, n, snapshot.average_degree(0), snapshot.M(), ef);
  if (plan == detail::FilterPlan::kScan) {
    walk.pool.reset(std::min(n, keep));
    detail::scan_allowed(score, n, filter, walk, scratch.nodes);
    return;
  }
  start = begin();
  const auto allows = [&](Node node) { return filter.allows(node); };
  // What is allowed may lie far from the query, or in parts that no bridge joins: then fewer are
  // found than this.
  std::size_t enough = options.k;
  if (plan == detail::FilterPlan::kWiden) {
    detail::walk_layer(score, n, start, std::clamp(detail::widened(options.k, ef, share), ef, n),
                       rows, walk);
  } else {
    enough = std::max(enough, std::min(keep, ef));
    scratch.bridge.bridged.start(n);
    const detail::BridgedRows<decltype(allows)> bridged{
        rows, allows, detail::bridged_links(snapshot.M()), scratch.bridge};
    // One more: the start need not be allowed.
    detail::walk_layer(score, n, start, ef + 1, bridged, walk);
  }
  std::size_t found = 0;
  for (std::size_t i = 0; i < walk.pool.size() && found < enough; ++i) {
    found += allows(walk.pool.node(i)) ? 1 : 0;
  }
  if (found < enough) {
    detail::walk_layer_filtered(score, n, start, ef, rows, allows, walk);
  }
}

}  // namespace

std::size_t search(const GraphSnapshot& snapshot, std::span<const float> query,
                   const SearchOptions& options, SearchScratch& scratch, std::span<Neighbour> out,
                   Node start) try {
  options.validate(snapshot);
  detail::check_dimension(snapshot, query.size());
  detail::check_output(options, out.size());
  if (start != kNoNode && start >= snapshot.size()) {
    throw Error(ErrorCode::kInvalidArgument,
                "a walk cannot begin at node " + std::to_string(start));
  }
  SearchScratch::Impl& impl = scratch.impl();
  const detail::PreparedQuery prepared =
      detail::prepare_query(snapshot, query, options.exact_walk, impl.query);
  const std::size_t n = snapshot.size(), ef = std::min(n, std::max(options.ef, options.k));
  const Filter& filter = options.filter;
  const std::size_t keep =
      prepared.coded ? detail::rescore_count(snapshot, options.k, options.rescore) : options.k;
  find_allowed(snapshot, prepared.walk, start, ef, keep, options, impl);
  collect(filter, prepared.coded ? &prepared.exact : nullptr, keep, impl);
  if (impl.neighbours.size() < options.k && impl.neighbours.size() < filter.count().value_or(n)) {
    // The walk ended in a part of the graph that has no way out: look at everything.
    return detail::scan_nearest(prepared.exact, snapshot, options, impl.neighbours, out);
  }
  return detail::copy_results(impl.neighbours, options.k, out);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

SearchResults search_batch(const GraphSnapshot& snapshot, const MatrixView& queries,
                           const SearchOptions& options, const Executor& executor,
                           const Job& job) try {
  options.validate(snapshot);
  detail::check_queries(snapshot, queries, executor);
  SearchResults results = detail::make_results(queries.rows, options.k);
  std::vector<SearchScratch> scratch(executor.threads());
  const BatchOrder order(snapshot, queries, options, executor, job);
  const Stage stage(job, "search", queries.rows);
  executor.parallel_for_workers(
      queries.rows, 8, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job.check();
        for (std::size_t i = begin; i < end; ++i) {
          const std::size_t q = order.query(i);
          results.found[q] = search(snapshot, queries.row_span(q), options, scratch[worker],
                                    std::span(results.neighbours).subspan(q * options.k, options.k),
                                    order.start(q));
        }
        job.advance(end - begin);
      });
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

}  // namespace halo
