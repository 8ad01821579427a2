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
#include "halo/index/detail/scan.h"

namespace halo {
namespace {

using detail::MetricDistance;

// hnswlib's greedy walk through the layers above 0.
Node descend(const GraphSnapshot& snapshot, const MetricDistance& distance, const float* query) {
  const MatrixView vectors = snapshot.vectors();
  Node current = snapshot.entry_point();
  if (snapshot.num_layers() == 1) return current;
  float nearest = distance(query, vectors.row(current));
  for (std::size_t layer = snapshot.num_layers() - 1; layer > 0; --layer) {
    for (bool changed = true; changed;) {
      changed = false;
      const auto links = snapshot.neighbours(current, layer);
      for (const Node next : links) detail::prefetch_vector(vectors.row(next), 32);
      for (const Node next : links) {
        const float d = distance(query, vectors.row(next));
        if (d < nearest) {
          nearest = d;
          current = next;
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
  std::vector<float> query;
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

std::size_t search(const GraphSnapshot& snapshot, std::span<const float> query,
                   const SearchOptions& options, SearchScratch& scratch, std::span<Neighbour> out) {
  options.validate(snapshot);
  detail::check_dimension(snapshot, query.size());
  detail::check_output(options, out.size());
  auto& [walk, prepared] = scratch.impl();
  const MatrixView vectors = snapshot.vectors();
  const MetricDistance distance(snapshot.metric(), vectors.stride);
  prepared.assign(vectors.stride, 0.0F);
  detail::store_vector(snapshot.metric(), query.data(), query.size(), "the query", prepared.data());

  const std::size_t n = snapshot.size(), ef = std::min(n, std::max(options.ef, options.k));
  const Filter& filter = options.filter;
  const std::optional<std::size_t> allowed = filter.count();
  if (allowed && scan_is_cheaper(*allowed, ef, n)) {
    return detail::scan_nearest(snapshot, prepared.data(), options, walk.pool, out);
  }
  const Node start = descend(snapshot, distance, prepared.data());
  const auto row_of = [&](Node node) { return snapshot.neighbours(node, 0); };
  if (filter.empty()) {
    detail::walk_layer(vectors, distance, prepared.data(), start, ef, row_of, walk);
  } else {
    detail::walk_layer_filtered(
        vectors, distance, prepared.data(), start, ef, row_of,
        [&](Node node) { return filter.allows(node); }, walk);
  }
  if (walk.pool.size() < options.k && walk.visited_count < n) {
    // The walk ended in a part of the graph that has no way out: look at everything.
    return detail::scan_nearest(snapshot, prepared.data(), options, walk.pool, out);
  }
  return detail::copy_results(walk.pool, options.k, out);
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
