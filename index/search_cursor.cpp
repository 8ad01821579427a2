#include "halo/index/search_cursor.h"

#include <algorithm>
#include <new>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/out_of_memory.h"
#include "halo/index/detail/query_walk.h"
#include "halo/index/detail/resumable_walk.h"
#include "halo/index/detail/scan.h"

namespace halo {

struct SearchCursor::Impl {
  Impl(std::shared_ptr<const GraphSnapshot> index, std::span<const float> vector,
       const SearchOptions& search_options)
      : snapshot(std::move(index)),
        options(search_options),
        query(detail::prepare_query(*snapshot, vector, options.exact_walk, memory)),
        rows(detail::layer0_rows(snapshot->parts().layers[0])) {
    walk.begin(query.walk, snapshot->size(), detail::descend(*snapshot, query.walk, distances),
               options.filter);
  }

  std::size_t next(std::span<Neighbour> out);

  std::shared_ptr<const GraphSnapshot> snapshot;
  SearchOptions options;
  detail::QueryMemory memory;
  detail::PreparedQuery query;
  detail::CsrRows rows;
  detail::ResumableWalk walk;
  std::size_t returned = 0;
  std::vector<float> distances;
  std::vector<Node> nodes;
  std::vector<Neighbour> candidates;
};

std::size_t SearchCursor::Impl::next(std::span<Neighbour> out) {
  const std::size_t wanted =
      query.coded ? detail::rescore_count(*snapshot, out.size(), options.rescore) : out.size();
  candidates.clear();
  nodes.clear();
  walk.widen(query.walk, rows, snapshot->size(), std::max(options.ef, wanted), options.filter);
  const std::size_t count = std::min(wanted, walk.found());
  // What walk.sorted_near() takes out must be given back: nothing may fail in between.
  candidates.reserve(count);
  nodes.reserve(count);
  if (query.coded && distances.size() < count) distances.resize(count);
  auto& near = walk.sorted_near();
  for (std::size_t i = 0; i < count; ++i) {
    nodes.push_back(detail::node_of(near[i]));
    candidates.push_back({detail::distance_of(near[i]), nodes.back()});
  }
  if (query.coded) {
    query.exact(nodes.data(), count, distances.data());
    for (std::size_t i = 0; i < count; ++i) candidates[i].distance = distances[i];
    std::sort(candidates.begin(), candidates.end(), detail::nearer);
  }
  const std::size_t given = std::min(out.size(), count);
  std::copy_n(candidates.begin(), given, out.begin());
  // The others wait for the next page.
  nodes.resize(given);
  for (std::size_t i = 0; i < given; ++i) nodes[i] = candidates[i].node;
  std::sort(nodes.begin(), nodes.end());
  std::erase_if(near, [&](detail::CandidateKey key) {
    return std::binary_search(nodes.begin(), nodes.end(), detail::node_of(key));
  });
  walk.give_back();
  returned += given;
  return given;
}

SearchCursor::SearchCursor(std::shared_ptr<const GraphSnapshot> snapshot,
                           std::span<const float> query, const SearchOptions& options) try {
  if (!snapshot) throw Error(ErrorCode::kInvalidArgument, "a cursor without a snapshot");
  SearchOptions checked = options;
  checked.k = 1;
  checked.validate(*snapshot);
  detail::check_dimension(*snapshot, query.size());
  impl_ = std::make_unique<Impl>(std::move(snapshot), query, checked);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a cursor"; });
}

SearchCursor::~SearchCursor() = default;
SearchCursor::SearchCursor(SearchCursor&&) noexcept = default;
SearchCursor& SearchCursor::operator=(SearchCursor&&) noexcept = default;

std::size_t SearchCursor::next(std::span<Neighbour> out) try {
  if (out.empty()) throw Error(ErrorCode::kInvalidArgument, "a page of no results");
  return impl_->next(out);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

std::size_t SearchCursor::returned() const { return impl_->returned; }

}  // namespace halo
