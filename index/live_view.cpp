#include "halo/index/live_view.h"

#include <algorithm>
#include <cmath>
#include <new>
#include <string>
#include <tuple>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/live_state.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/scan.h"
#include "halo/index/exact_search.h"

namespace halo {

namespace {

// So many of `n` drawn with a chance of `share` each, but for bad luck: three deviations of it.
double at_most_of(double n, double share) {
  return n * share + 3 * std::sqrt(n * share * (1 - share));
}

// Of `ef` candidates those that lie in a part which holds `share` of what is near: walked with so
// many, the part is looked at as far from the query as the whole would be with `ef`.
std::size_t candidates_of_share(std::size_t ef, double share) {
  constexpr std::size_t kLeast = 16;
  const auto most = static_cast<std::size_t>(std::ceil(at_most_of(static_cast<double>(ef), share)));
  return std::min(ef, std::max(most, kLeast));
}

// How many of `rows` are among the k nearest of both; each ascending.
std::size_t among_nearest(std::span<const Neighbour> rows, std::span<const LiveNeighbour> others,
                          std::size_t k) {
  std::size_t count = 0;
  while (count < std::min(k, rows.size())) {
    const std::size_t behind = k - 1 - count;
    if (behind < others.size() && others[behind].distance <= rows[count].distance) break;
    ++count;
  }
  return count;
}

}  // namespace

struct LiveScratch::Impl {
  SearchScratch sealed;
  detail::DeltaScratch delta;
  Matrix query;  // as stored: normalised, padded
  std::vector<Neighbour> nodes;
  std::vector<LiveNeighbour> results;
};

LiveScratch::LiveScratch() : impl_(std::make_unique<Impl>()) {}
LiveScratch::~LiveScratch() = default;
LiveScratch::LiveScratch(LiveScratch&&) noexcept = default;
LiveScratch& LiveScratch::operator=(LiveScratch&&) noexcept = default;

void LiveSearchOptions::validate() const {
  if (k == 0) throw Error(ErrorCode::kInvalidArgument, "k is 0, not at least 1");
  if (ef == 0) throw Error(ErrorCode::kInvalidArgument, "ef is 0, not at least 1");
}

LiveView::LiveView(std::shared_ptr<const detail::LiveState> state) : state_(std::move(state)) {}

std::size_t LiveView::size() const { return state_->size(); }
std::size_t LiveView::dim() const { return state_->delta->options().dim; }
Metric LiveView::metric() const { return state_->delta->options().metric; }

bool LiveView::contains(Id id) const { return state_->find_sealed(id) || state_->find_delta(id); }

std::optional<std::vector<float>> LiveView::vector(Id id) const {
  std::vector<float> copy(dim());
  if (const auto node = state_->find_sealed(id)) {
    state_->sealed->copy_vector(*node, copy);
    return copy;
  }
  if (const auto row = state_->find_delta(id)) {
    std::copy_n(state_->delta->vector(*row), dim(), copy.begin());
    return copy;
  }
  return std::nullopt;
}

void LiveView::search_sealed(std::span<const float> query, const LiveSearchOptions& options,
                             LiveScratch::Impl& scratch, How how) const {
  const std::size_t k = std::min(options.k, state_->sealed_count());
  if (k == 0) return;
  const GraphSnapshot& sealed = *state_->sealed;
  SearchOptions search_options{k, options.ef, state_->sealed_filter};
  if (options.filter) {
    search_options.filter = Filter::of_predicate(
        [&](Node node) { return state_->sealed_lives(node) && options.filter(sealed.id(node)); });
  }
  scratch.nodes.resize(k);
  const std::size_t found =
      how == How::kWalk ? halo::search(sealed, query, search_options, scratch.sealed, scratch.nodes)
                        : halo::exact_search(sealed, query, search_options, scratch.nodes);
  for (std::size_t i = 0; i < found; ++i) {
    scratch.results.push_back({scratch.nodes[i].distance, sealed.id(scratch.nodes[i].node)});
  }
}

void LiveView::search_delta(const LiveSearchOptions& options, LiveScratch::Impl& scratch,
                            How how) const {
  const std::size_t k = std::min(options.k, state_->delta_count());
  if (k == 0) return;
  const detail::DeltaGraph& delta = *state_->delta;
  const float* query = scratch.query.row(0);
  detail::DeltaGraph::Allows allows;
  if (options.filter) {
    allows = [&](Node row) { return state_->delta_lives(row) && options.filter(delta.id(row)); };
  } else if (state_->delta_removed) {
    allows = [&](Node row) { return state_->delta_lives(row); };
  }
  auto& nearest = scratch.delta.nearest;
  if (how != How::kScan) {
    const auto here = static_cast<double>(state_->delta_count());
    const double all = static_cast<double>(size()), wanted = static_cast<double>(options.k);
    const double allowed = options.filter ? 0 : here / static_cast<double>(state_->mark.rows);
    const auto walk = [&](std::size_t ef) {
      delta.search(state_->mark, query, k, std::max(k, ef), allows, allowed, scratch.delta);
    };
    const std::size_t ef =
        how == How::kWalk ? candidates_of_share(options.ef, here / all) : options.ef;
    walk(ef);
    // What was written lately may lie together: more of it near this query than its share.
    std::sort(nearest.begin(), nearest.end(), detail::nearer);
    const auto hits = static_cast<double>(among_nearest(nearest, scratch.results, options.k));
    if (ef < options.ef && hits > at_most_of(wanted, here / all)) {
      walk(candidates_of_share(options.ef, hits / wanted));
    }
  }
  // Asked for, or the walk ended in a part of the graph that has no way out: look at everything.
  if (how == How::kScan || nearest.size() < k) {
    delta.scan(state_->mark, query, k, allows, scratch.delta);
  }
  for (const Neighbour& neighbour : nearest) {
    scratch.results.push_back({neighbour.distance, delta.id(neighbour.node)});
  }
}

std::size_t LiveView::answer(std::span<const float> query, const LiveSearchOptions& options,
                             LiveScratch& scratch, std::span<LiveNeighbour> out, How how) const
    try {
  options.validate();
  if (query.size() != dim()) {
    throw Error(ErrorCode::kDimensionMismatch, "a query of " + std::to_string(query.size()) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(dim()));
  }
  if (out.size() < options.k) {
    throw Error(ErrorCode::kInvalidArgument, "room for " + std::to_string(out.size()) +
                                                 " results where k is " +
                                                 std::to_string(options.k));
  }
  LiveScratch::Impl& memory = scratch.impl();
  if (memory.query.cols() != dim()) memory.query = Matrix::padded(1, dim());
  detail::store_vector(metric(), query.data(), query.size(), "the query", memory.query.row(0));
  auto& results = memory.results;
  results.clear();
  if (how != How::kWalkUnsealed) search_sealed(query, options, memory, how);
  search_delta(options, memory, how);

  const std::size_t found = std::min(options.k, results.size());
  const auto nearer = [](const LiveNeighbour& a, const LiveNeighbour& b) {
    return std::tie(a.distance, a.id) < std::tie(b.distance, b.id);
  };
  std::partial_sort(results.begin(), results.begin() + static_cast<std::ptrdiff_t>(found),
                    results.end(), nearer);
  std::copy_n(results.begin(), found, out.begin());
  return found;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

std::size_t LiveView::search(std::span<const float> query, const LiveSearchOptions& options,
                             LiveScratch& scratch, std::span<LiveNeighbour> out) const {
  return answer(query, options, scratch, out, How::kWalk);
}

std::size_t LiveView::exact_search(std::span<const float> query, const LiveSearchOptions& options,
                                   LiveScratch& scratch, std::span<LiveNeighbour> out) const {
  return answer(query, options, scratch, out, How::kScan);
}

std::shared_ptr<const GraphSnapshot> LiveView::sealed() const { return state_->sealed; }

Filter LiveView::sealed_filter() const { return state_->sealed_filter; }

std::size_t LiveView::unsealed_size() const { return state_->delta_count(); }

std::size_t LiveView::search_unsealed(std::span<const float> query,
                                      const LiveSearchOptions& options, LiveScratch& scratch,
                                      std::span<LiveNeighbour> out) const {
  return answer(query, options, scratch, out, How::kWalkUnsealed);
}

void LiveView::for_each_unsealed(
    const std::function<void(Id id, std::span<const float> vector)>& visit) const {
  for (Node row = 0; row < state_->mark.rows; ++row) {
    if (!state_->delta_lives(row)) continue;
    visit(state_->delta->id(row), std::span(state_->delta->vector(row), dim()));
  }
}

LiveResults LiveView::search_batch(const MatrixView& queries, const LiveSearchOptions& options,
                                   const Executor& executor, const Job& job) const try {
  options.validate();
  if (queries.stride < queries.cols) {
    throw Error(ErrorCode::kInvalidArgument, "the stride of queries is less than their dimension");
  }
  LiveResults results;
  results.k = std::min(options.k, std::max<std::size_t>(size(), 1));
  results.neighbours.assign(queries.rows * results.k, LiveNeighbour{});
  results.found.assign(queries.rows, 0);
  std::vector<LiveScratch> scratch(executor.threads());
  LiveSearchOptions each = options;
  each.k = results.k;
  const Stage stage(job, "search", queries.rows);
  executor.parallel_for_workers(
      queries.rows, 8, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        job.check();
        for (std::size_t q = begin; q < end; ++q) {
          results.found[q] = search(queries.row_span(q), each, scratch[worker],
                                    std::span(results.neighbours).subspan(q * each.k, each.k));
        }
        job.advance(end - begin);
      });
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

}  // namespace halo
