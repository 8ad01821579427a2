#include "halo/index/detail/live_seal.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/index/detail/keep_nodes.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/memory_estimate.h"

namespace halo::detail {
namespace {

constexpr std::size_t kFirstCapacity = 1024;
constexpr std::size_t kMostRows = std::numeric_limits<std::int32_t>::max();

struct Rows {
  Matrix vectors;
  std::vector<Id> ids;
};

// The delta's live rows, before them the snapshot's where `with_sealed`.
Rows live_rows(const LiveState& state, bool with_sealed) {
  const std::size_t count = state.delta_count() + (with_sealed ? state.sealed_count() : 0);
  Rows rows{Matrix::padded(count, state.delta->options().dim), {}};
  rows.ids.reserve(count);
  const auto take = [&](const float* vector, Id id) {
    std::copy_n(vector, rows.vectors.cols(), rows.vectors.row(rows.ids.size()));
    rows.ids.push_back(id);
  };
  if (with_sealed) {
    std::vector<float> vector(rows.vectors.cols());
    for (Node node = 0; node < state.sealed_size(); ++node) {
      if (!state.sealed_lives(node)) continue;
      state.sealed->copy_vector(node, vector);
      take(vector.data(), state.sealed->id(node));
    }
  }
  for (Node row = 0; row < state.mark.rows; ++row) {
    if (state.delta_lives(row)) take(state.delta->vector(row), state.delta->id(row));
  }
  return rows;
}

}  // namespace

std::shared_ptr<const GraphSnapshot> sealed_of(const LiveState& state, const BuildOptions& options,
                                               const Executor& executor, const Job& job) {
  if (state.size() == 0) return nullptr;
  // Links mended around most of the nodes are worse than new ones.
  const bool anew = 2 * state.sealed_count() < state.sealed_size() || !state.sealed;
  if (anew) {
    const Rows rows = live_rows(state, true);
    VectorIndex index(rows.vectors.cols(), options);
    index.add(rows.vectors, rows.ids, executor, job);
    return index.seal(executor, job);
  }
  const auto base = state.sealed_removed == 0
                        ? state.sealed
                        : keep_nodes(*state.sealed, *state.sealed_live, executor, job);
  if (state.delta_count() == 0) return base;
  const Rows rows = live_rows(state, false);
  VectorIndex index = VectorIndex::resume(*base, executor, options.deterministic);
  index.add(rows.vectors, rows.ids, executor, job);
  return index.seal(executor, job);
}

std::shared_ptr<DeltaGraph> new_delta(DeltaOptions options, const GraphSnapshot* sealed) {
  options.codes = sealed != nullptr ? sealed->codes().kind() : CodeKind::kF32;
  options.quantiser = sealed != nullptr ? sealed->codes().quantiser() : Int8Quantiser();
  return std::make_shared<DeltaGraph>(options, kFirstCapacity);
}

namespace {

std::size_t grown_capacity(std::size_t capacity, std::size_t wanted) {
  return wanted <= capacity ? capacity : std::max(wanted, 2 * capacity);
}

}  // namespace

void make_room(std::shared_ptr<DeltaGraph>& delta, std::size_t rows) {
  const std::size_t wanted = delta->mark().rows + rows;
  if (wanted <= delta->capacity()) return;
  if (wanted > kMostRows) {
    throw Error(ErrorCode::kOutOfMemory,
                std::to_string(wanted) + " vectors cannot wait to be sealed");
  }
  delta = delta->with_capacity(grown_capacity(delta->capacity(), wanted));
}

std::size_t live_bytes(const LiveState& state, std::size_t added, const BuildOptions& options) {
  const DeltaOptions& delta = state.delta->options();
  const std::size_t capacity = state.delta->capacity(), rows = state.mark.rows + added;
  const std::size_t room = grown_capacity(capacity, rows);
  constexpr std::size_t kKnownRow = 96;  // in two maps while a write or a seal lasts
  const std::size_t held = (state.sealed ? state.sealed->memory_usage().total() : 0) +
                           4 * words_for(state.sealed_size()) * sizeof(std::uint64_t) +
                           rows * kKnownRow;
  const std::size_t writing =
      DeltaGraph::bytes(delta, room) + (room > capacity ? DeltaGraph::bytes(delta, capacity) : 0);

  // A seal: the snapshot without removed nodes, its graph resumed, the delta's rows linked in.
  const std::size_t sealed = state.sealed_count(), waiting = rows - state.delta_removed_count;
  BuildOptions build = options;
  if (state.sealed) build.codes = delta.codes;
  const std::size_t row = padded_width(delta.dim) * sizeof(float) + sizeof(Id);
  const std::size_t resumed =
      (state.sealed_removed == 0 ? 0 : estimate_memory(sealed, delta.dim, build).peak()) +
      waiting * row + estimate_growth(sealed, sealed, waiting, delta.dim, build);
  const std::size_t anew =
      (sealed + waiting) * row + estimate_growth(0, 0, sealed + waiting, delta.dim, options);
  // What arrives while it runs is carried into a delta of its own.
  const std::size_t next = DeltaGraph::bytes(delta, std::max(kFirstCapacity, room));
  const std::size_t sealing = DeltaGraph::bytes(delta, room) + next + std::max(resumed, anew);
  return held + std::max(writing, sealing);
}

Carry::Carry(std::shared_ptr<const LiveState> begun, std::shared_ptr<const GraphSnapshot> snapshot)
    : begun_(std::move(begun)),
      snapshot_(std::move(snapshot)),
      next_(new_delta(begun_->delta->options(), snapshot_.get())),
      carried_(begun_->mark.rows) {}

void Carry::append_until(const LiveState& now) {
  make_room(next_, now.mark.rows - carried_);
  source_.reserve(source_.size() + (now.mark.rows - carried_));
  for (; carried_ < now.mark.rows; ++carried_) {
    if (!now.delta_lives(carried_)) continue;
    source_.push_back(carried_);
    next_->append(now.delta->vector(carried_), now.delta->id(carried_));
  }
}

std::size_t Carry::catch_up(const LiveState& now, std::size_t tail, const Job& job) {
  const std::size_t before = source_.size();
  append_until(now);
  while (next_->mark().rows - next_->mark().linked > tail) {
    job.check();
    next_->link_next();
  }
  return source_.size() - before;
}

// What the snapshot holds that was removed since the seal began.
void Carry::remove_sealed(const LiveState& now, LiveState& next) const {
  std::vector<Id> removed;
  if (now.sealed_live != begun_->sealed_live) {
    const Bits& live = *now.sealed_live;
    for (std::size_t w = 0; w < live.size(); ++w) {
      const std::uint64_t lived = begun_->sealed_live ? (*begun_->sealed_live)[w] : ~0ULL;
      for (std::uint64_t gone = lived & ~live[w]; gone != 0; gone &= gone - 1) {
        const std::size_t node = w * 64 + static_cast<std::size_t>(std::countr_zero(gone));
        if (node < now.sealed_size()) removed.push_back(now.sealed->id(static_cast<Node>(node)));
      }
    }
  }
  for (Node row = 0; row < begun_->mark.rows; ++row) {
    if (begun_->delta_lives(row) && !now.delta_lives(row)) removed.push_back(now.delta->id(row));
  }
  if (removed.empty()) return;
  auto live = std::make_shared<Bits>(words_for(next.sealed_size()), ~0ULL);
  if (next.sealed_size() % 64 != 0) live->back() >>= 64 - next.sealed_size() % 64;
  for (const Id id : removed) clear_bit(*live, next.sealed->find(id).value());
  next.set_sealed_live(std::move(live));
}

std::shared_ptr<LiveState> Carry::finish(const LiveState& now) {
  append_until(now);
  auto next = std::make_shared<LiveState>();
  next->sealed = snapshot_;
  if (next->sealed) remove_sealed(now, *next);
  next->delta = next_;
  next->mark = next_->mark();
  auto removed = std::make_shared<Bits>();
  for (std::size_t row = 0; row < source_.size(); ++row) {
    if (now.delta_lives(source_[row])) continue;
    set_bit(*removed, row);
    ++next->delta_removed_count;
  }
  if (next->delta_removed_count != 0) next->delta_removed = std::move(removed);
  return next;
}

}  // namespace halo::detail
