#include "halo/index/live_index.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "halo/core/out_of_memory.h"
#include "halo/core/published.h"
#include "halo/index/detail/idle_thread.h"
#include "halo/index/detail/live_seal.h"
#include "halo/index/detail/live_state.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/memory_estimate.h"

namespace halo {
namespace {

using detail::Bits;
using detail::DeltaGraph;
using detail::LiveState;
using Cell = Published<LiveState>::Cell;
using Rows = std::unordered_map<Id, Node>;

// The background seals at ordinary priority once it is this far behind.
constexpr std::size_t kBehind = 4;
// The longest that a writer is slowed down for, a call.
constexpr std::chrono::milliseconds kLongestWait{100};
// How often the background looks whether the last view of an old snapshot is gone.
constexpr std::chrono::milliseconds kRetireInterval{20};

enum class Write { kAdd, kUpdate };

LiveOptions with_snapshot(const GraphSnapshot& snapshot, LiveOptions options) {
  options.build.metric = snapshot.metric();
  options.build.M = snapshot.M();
  options.build.ef_construction = snapshot.ef_construction();
  options.build.seed = snapshot.seed();
  return options;
}

const GraphSnapshot& not_null(const std::shared_ptr<const GraphSnapshot>& snapshot) {
  if (!snapshot) throw Error(ErrorCode::kInvalidArgument, "a live index without a snapshot");
  return *snapshot;
}

std::shared_ptr<const LiveState> first_state(std::size_t dim, const LiveOptions& options,
                                             std::shared_ptr<const GraphSnapshot> snapshot) {
  options.validate();
  static_cast<void>(VectorIndex(dim, options.build));  // refuses what it refuses
  auto state = std::make_shared<LiveState>();
  state->sealed = std::move(snapshot);
  detail::DeltaOptions delta;
  delta.metric = options.build.metric;
  delta.dim = dim;
  delta.M = options.build.M;
  delta.ef_construction = options.delta_ef_construction;
  delta.seed = options.build.seed;
  state->delta = detail::new_delta(std::move(delta), state->sealed.get());
  return state;
}

// A state in the making: the next one without some ids.
class Removal {
 public:
  Removal(LiveState& next, const Rows& delta_rows) : next_(next), delta_rows_(delta_rows) {}

  /// False where the id does not live (any more).
  bool remove(Id id) {
    const auto at = delta_rows_.find(id);
    if (at != delta_rows_.end()) return remove_row(at->second);
    const auto node = next_.sealed ? next_.sealed->find(id) : std::nullopt;
    return node && remove_node(*node);
  }

  void apply() {
    if (sealed_) next_.set_sealed_live(std::move(sealed_));
    if (delta_) next_.delta_removed = std::move(delta_);
  }

 private:
  bool remove_row(Node row) {
    if (!delta_) {
      delta_ = next_.delta_removed ? std::make_shared<Bits>(*next_.delta_removed)
                                   : std::make_shared<Bits>();
    }
    if (detail::test_bit(*delta_, row)) return false;
    detail::set_bit(*delta_, row);
    ++next_.delta_removed_count;
    return true;
  }

  bool remove_node(Node node) {
    if (!sealed_) {
      sealed_ = next_.sealed_live
                    ? std::make_shared<Bits>(*next_.sealed_live)
                    : std::make_shared<Bits>(detail::words_for(next_.sealed_size()), ~0ULL);
      // Bits past the last node would be counted.
      const std::size_t used = next_.sealed_size() % 64;
      if (used != 0) sealed_->back() &= ~0ULL >> (64 - used);
    }
    if (!detail::test_bit(*sealed_, node)) return false;
    detail::clear_bit(*sealed_, node);
    return true;
  }

  LiveState& next_;
  const Rows& delta_rows_;
  std::shared_ptr<Bits> sealed_, delta_;
};

// The state after `count` rows were appended that must not live after all.
std::shared_ptr<LiveState> abandoned(const LiveState& now, std::size_t count) {
  auto state = std::make_shared<LiveState>(now);
  auto removed =
      now.delta_removed ? std::make_shared<Bits>(*now.delta_removed) : std::make_shared<Bits>();
  for (std::size_t i = 0; i < count; ++i) detail::set_bit(*removed, now.mark.rows + i);
  state->delta_removed = std::move(removed);
  state->delta_removed_count += count;
  return state;
}

}  // namespace

void LiveOptions::validate() const {
  build.validate();
  if (delta_ef_construction == 0) {
    throw Error(ErrorCode::kInvalidArgument, "delta_ef_construction is 0, not at least 1");
  }
  if (min_changes == 0) {
    throw Error(ErrorCode::kInvalidArgument, "min_changes is 0, not at least 1");
  }
  if (!(change_share > 0 && change_share <= 1)) {
    throw Error(ErrorCode::kInvalidArgument,
                "change_share is " + std::to_string(change_share) + ", not in (0, 1]");
  }
  if (!(most_behind >= 2)) {
    throw Error(ErrorCode::kInvalidArgument,
                "most_behind is " + std::to_string(most_behind) + ", not at least 2");
  }
}

struct LiveIndex::Impl {
  Impl(std::size_t d, const LiveOptions& o, std::shared_ptr<const GraphSnapshot> snapshot)
      : dim(d), options(o), published(first_state(d, o, std::move(snapshot))) {
    check_limit(*published.load(), 0, "this index");
    if (options.background) worker = std::jthread([this](std::stop_token t) { work(t); });
  }

  Matrix checked_input(const MatrixView& vectors, std::span<const Id> ids) const;
  void write(Write how, const MatrixView& vectors, std::span<const Id> ids, const Job& job);
  void check_limit(const LiveState& state, std::size_t added, const char* doing) const;
  void link_tail(DeltaGraph& delta, const Job& job) const;
  void remove(std::span<const Id> ids);

  std::size_t changes_wanted(const LiveState& state) const;
  static std::size_t changes(const LiveState& state);
  void wake_if_due(const LiveState& state);
  double behind() const;
  void hold_back(const Job& job);
  std::shared_ptr<const GraphSnapshot> seal(const Executor& executor, const Job& job,
                                            bool when_idle);
  void work(const std::stop_token& stop);
  void seal_in_background(const std::stop_token& stop);
  void free_retired();

  const std::size_t dim;
  const LiveOptions options;
  Published<LiveState> published;

  std::mutex write_mutex;  // whoever writes the delta or publishes
  Rows delta_rows;         // the live rows of the delta

  std::mutex seal_mutex;  // one seal at a time; taken before write_mutex

  std::mutex wake_mutex;  // all below
  std::condition_variable_any wake;
  std::condition_variable sealed;  // a seal ended
  detail::Hurry hurry;             // for the seal of the background
  std::stop_source background_seal;
  std::size_t callers = 0;    // of seal(): the background gives way
  std::size_t failed_at = 0;  // changes when the background last failed
  std::uint64_t seals = 0, failed_seals = 0, held_back = 0;
  std::optional<ErrorCode> failure;
  // Old snapshots and deltas, so that the background frees their gigabytes and no reader has to.
  std::vector<std::shared_ptr<const void>> retired;

  std::jthread worker;
};

Matrix LiveIndex::Impl::checked_input(const MatrixView& vectors, std::span<const Id> ids) const {
  if (vectors.cols != dim) {
    throw Error(ErrorCode::kDimensionMismatch, "vectors of " + std::to_string(vectors.cols) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(dim));
  }
  if (vectors.stride < vectors.cols) {
    throw Error(ErrorCode::kInvalidArgument, "the stride of vectors is less than their dimension");
  }
  if (ids.size() != vectors.rows) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(ids.size()) + " ids for " +
                                                 std::to_string(vectors.rows) + " vectors");
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0) {
      throw Error(ErrorCode::kInvalidArgument, "id " + std::to_string(ids[i]) + " of vector " +
                                                   std::to_string(i) + " is negative");
    }
  }
  Matrix stored = Matrix::padded(vectors.rows, dim);
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    detail::store_row(options.build.metric, vectors.row(i), dim, "vector", i, stored.row(i));
  }
  return stored;
}

void LiveIndex::Impl::check_limit(const LiveState& state, std::size_t added,
                                  const char* doing) const {
  if (options.build.memory_limit == 0) return;
  check_memory_limit(detail::live_bytes(state, added, options.build), options.build.memory_limit,
                     doing);
}

void LiveIndex::Impl::link_tail(DeltaGraph& delta, const Job& job) const {
  try {
    while (delta.mark().rows - delta.mark().linked > options.scanned_tail) {
      job.check();
      delta.link_next();
      job.advance(1);
    }
  } catch (const std::bad_alloc&) {
    // The rows are there and will be scanned; the next write tries again.
  }
}

void LiveIndex::Impl::write(Write how, const MatrixView& vectors, std::span<const Id> ids,
                            const Job& job) {
  const Matrix stored = checked_input(vectors, ids);
  if (ids.empty()) return;
  job.check();
  const Stage stage(job, how == Write::kAdd ? "add" : "update", ids.size());
  hold_back(job);
  const std::unique_lock<std::mutex> lock(write_mutex);
  const std::shared_ptr<const LiveState> now = published.load();
  check_limit(*now, ids.size(),
              how == Write::kAdd ? "adding these vectors" : "updating these vectors");
  auto next = std::make_shared<LiveState>(*now);
  detail::make_room(next->delta, ids.size());
  DeltaGraph& delta = *next->delta;
  const Node first = delta.mark().rows;

  Removal removal(*next, delta_rows);
  Rows fresh;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const auto say = [&](const char* what) {
      return "id " + std::to_string(ids[i]) + " of vector " + std::to_string(i) + what;
    };
    if (!fresh.emplace(ids[i], static_cast<Node>(first + i)).second) {
      throw Error(ErrorCode::kDuplicateId, say(" is given twice"));
    }
    const bool lives = delta_rows.contains(ids[i]) || now->find_sealed(ids[i]);
    if (how == Write::kAdd && lives) throw Error(ErrorCode::kDuplicateId, say(" is there already"));
    if (how == Write::kUpdate && !removal.remove(ids[i])) {
      throw Error(ErrorCode::kUnknownId, say(" is not there"));
    }
  }
  removal.apply();
  // From here on only linking may be stopped: rows that are linked cannot be taken back.
  delta_rows.reserve(delta_rows.size() + fresh.size());
  auto cell = std::make_unique<Cell>(next);
  auto without = abandoned(*now, ids.size());
  without->delta = next->delta;
  auto cell_without = std::make_unique<Cell>(without);
  for (std::size_t i = 0; i < ids.size(); ++i) delta.append(stored.row(i), ids[i]);
  try {
    link_tail(delta, job);
  } catch (...) {
    without->mark = delta.mark();
    published.publish(std::move(cell_without));
    throw;
  }
  next->mark = delta.mark();
  for (const Id id : ids) delta_rows.erase(id);
  delta_rows.merge(fresh);
  published.publish(std::move(cell));
  wake_if_due(*next);
}

void LiveIndex::Impl::remove(std::span<const Id> ids) {
  if (ids.empty()) return;
  const std::unique_lock<std::mutex> lock(write_mutex);
  auto next = std::make_shared<LiveState>(*published.load());
  Removal removal(*next, delta_rows);
  for (const Id id : ids) {
    if (!removal.remove(id)) {
      throw Error(ErrorCode::kUnknownId, "id " + std::to_string(id) + " is not there");
    }
  }
  removal.apply();
  auto cell = std::make_unique<Cell>(next);
  for (const Id id : ids) delta_rows.erase(id);
  published.publish(std::move(cell));
  wake_if_due(*next);
}

std::size_t LiveIndex::Impl::changes(const LiveState& state) {
  return state.mark.rows + state.sealed_removed;
}

std::size_t LiveIndex::Impl::changes_wanted(const LiveState& state) const {
  const double share = options.change_share * static_cast<double>(state.sealed_size());
  return std::max(options.min_changes, static_cast<std::size_t>(share));
}

void LiveIndex::Impl::wake_if_due(const LiveState& state) {
  if (!options.background || changes(state) < changes_wanted(state)) return;
  const std::unique_lock<std::mutex> lock(wake_mutex);
  wake.notify_one();
}

// How many times the changes that are due wait to be sealed.
double LiveIndex::Impl::behind() const {
  const auto state = published.load();
  return static_cast<double>(changes(*state)) / static_cast<double>(changes_wanted(*state));
}

// Slows a writer down that the background cannot follow. Without a lock that anyone else needs.
void LiveIndex::Impl::hold_back(const Job& job) {
  if (!options.background || behind() < kBehind) return;
  {
    std::unique_lock<std::mutex> lock(wake_mutex);
    hurry.up();
    if (behind() < options.most_behind) return;
    ++held_back;
    sealed.wait_for(lock, kLongestWait, [&] { return behind() < options.most_behind; });
  }
  job.check();
  if (behind() < 2 * options.most_behind) return;
  const std::unique_lock<std::mutex> lock(seal_mutex);
  if (behind() >= 2 * options.most_behind) {
    seal(Executor(1), Job{nullptr, job.stop}, false);
  }
}

// With seal_mutex held.
std::shared_ptr<const GraphSnapshot> LiveIndex::Impl::seal(const Executor& executor, const Job& job,
                                                           bool when_idle) {
  const std::shared_ptr<const LiveState> begun = published.load();
  if (changes(*begun) == 0) return begun->sealed;
  std::shared_ptr<const GraphSnapshot> snapshot;
  std::optional<detail::Carry> carry;
  const auto prepare = [&] {
    snapshot = detail::sealed_of(*begun, options.build, executor, job);
    carry.emplace(begun, snapshot);
    // Until what arrives while catching up is less than searches scan anyway.
    while (carry->catch_up(*published.load(), options.scanned_tail, job) > options.scanned_tail) {
    }
  };
  when_idle ? detail::run_when_idle(prepare, hurry) : prepare();

  const std::unique_lock<std::mutex> lock(write_mutex);
  const std::shared_ptr<const LiveState> now = published.load();
  auto next = carry->finish(*now);
  Rows rows;
  for (Node row = 0; row < next->mark.rows; ++row) {
    if (next->delta_lives(row)) rows.emplace(next->delta->id(row), row);
  }
  auto cell = std::make_unique<Cell>(next);
  const std::unique_lock<std::mutex> wake_lock(wake_mutex);
  if (options.background) retired.insert(retired.end(), {begun->sealed, begun->delta});
  ++seals;
  failed_at = 0;
  delta_rows.swap(rows);
  published.publish(std::move(cell));
  sealed.notify_all();
  return snapshot;
}

void LiveIndex::Impl::work(const std::stop_token& stop) {
  const auto due = [&] {
    const auto state = published.load();
    return callers == 0 && changes(*state) >= failed_at + changes_wanted(*state);
  };
  while (!stop.stop_requested()) {
    bool ready = false;
    {
      std::unique_lock<std::mutex> lock(wake_mutex);
      if (retired.empty()) {
        // A caller's seal retires something too, with nothing else to do afterwards.
        wake.wait(lock, stop, [&] { return !retired.empty() || due(); });
      } else {
        wake.wait_for(lock, stop, kRetireInterval, due);
      }
      ready = due();
      if (ready) background_seal = std::stop_source();
    }
    free_retired();
    if (ready && !stop.stop_requested()) seal_in_background(stop);
  }
}

void LiveIndex::Impl::seal_in_background(const std::stop_token& stop) {
  const std::unique_lock<std::mutex> seal_lock(seal_mutex);
  std::stop_source source;
  {
    const std::unique_lock<std::mutex> lock(wake_mutex);
    if (callers != 0) return;
    source = background_seal;
    hurry = detail::Hurry();
  }
  const std::stop_callback on_stop(stop, [&] { source.request_stop(); });
  try {
    const auto state = published.load();
    const bool behind = changes(*state) >= kBehind * changes_wanted(*state);
    seal(Executor(1), Job{nullptr, source.get_token()}, !behind);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kCancelled) return;
    const std::unique_lock<std::mutex> lock(wake_mutex);
    ++failed_seals;
    failure = error.code();
    failed_at = changes(*published.load());
  } catch (const std::bad_alloc&) {
    const std::unique_lock<std::mutex> lock(wake_mutex);
    ++failed_seals;
    failure = ErrorCode::kOutOfMemory;
    failed_at = changes(*published.load());
  }
}

void LiveIndex::Impl::free_retired() {
  {
    const std::unique_lock<std::mutex> lock(write_mutex);
    published.reclaim();
  }
  for (;;) {
    std::shared_ptr<const void> unused;
    const std::unique_lock<std::mutex> lock(wake_mutex);
    const auto at = std::find_if(retired.begin(), retired.end(),
                                 [](const auto& old) { return old.use_count() <= 1; });
    if (at == retired.end()) return;
    unused.swap(*at);  // freed after the lock
    retired.erase(at);
  }
}

LiveIndex::LiveIndex(std::size_t dim, const LiveOptions& options) try
    : impl_(std::make_unique<Impl>(dim, options, nullptr)) {
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a live index"; });
}

LiveIndex::LiveIndex(std::shared_ptr<const GraphSnapshot> snapshot, const LiveOptions& options) try
    : impl_(std::make_unique<Impl>(not_null(snapshot).dim(),
                                   with_snapshot(not_null(snapshot), options), snapshot)) {
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory for a live index"; });
}

LiveIndex::~LiveIndex() = default;

std::size_t LiveIndex::dim() const { return impl_->dim; }

LiveView LiveIndex::view() const { return LiveView(impl_->published.load()); }

void LiveIndex::add(const MatrixView& vectors, std::span<const Id> ids, const Job& job) try {
  impl_->write(Write::kAdd, vectors, ids, job);
} catch (const std::bad_alloc&) {
  throw_out_of_memory(
      [&] { return "no memory to add " + std::to_string(vectors.rows) + " vectors"; });
}

void LiveIndex::update(const MatrixView& vectors, std::span<const Id> ids, const Job& job) try {
  impl_->write(Write::kUpdate, vectors, ids, job);
} catch (const std::bad_alloc&) {
  throw_out_of_memory(
      [&] { return "no memory to update " + std::to_string(vectors.rows) + " vectors"; });
}

void LiveIndex::remove(std::span<const Id> ids) try {
  impl_->remove(ids);
} catch (const std::bad_alloc&) {
  throw_out_of_memory(
      [&] { return "no memory to remove " + std::to_string(ids.size()) + " vectors"; });
}

std::shared_ptr<const GraphSnapshot> LiveIndex::seal(const Executor& executor, const Job& job) try {
  // The background gives way as long as this lives.
  struct Caller {
    explicit Caller(Impl& i) : impl(i) {
      const std::unique_lock<std::mutex> lock(impl.wake_mutex);
      ++impl.callers;
      impl.background_seal.request_stop();
    }
    ~Caller() {
      const std::unique_lock<std::mutex> lock(impl.wake_mutex);
      --impl.callers;
      impl.wake.notify_one();
    }
    Caller(const Caller&) = delete;
    Caller& operator=(const Caller&) = delete;
    Impl& impl;
  };
  const Caller caller(*impl_);
  const std::unique_lock<std::mutex> lock(impl_->seal_mutex);
  return impl_->seal(executor, job, false);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([&] { return "no memory to seal " + std::to_string(size()) + " vectors"; });
}

LiveIndex::Stats LiveIndex::stats() const {
  const auto state = impl_->published.load();
  Stats stats;
  stats.sealed = state->sealed_size();
  stats.sealed_removed = state->sealed_removed;
  stats.delta = state->mark.rows;
  stats.delta_removed = state->delta_removed_count;
  const std::unique_lock<std::mutex> lock(impl_->wake_mutex);
  stats.seals = impl_->seals;
  stats.failed_seals = impl_->failed_seals;
  stats.failure = impl_->failure;
  stats.held_back = impl_->held_back;
  return stats;
}

}  // namespace halo
