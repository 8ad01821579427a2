#include "halo/integration/live_engine.h"

#include <algorithm>
#include <chrono>
#include <numeric>
#include <string>
#include <unordered_set>
#include <utility>

#include "halo/core/error.h"
#include "halo/gnn/trained_model.h"
#include "halo/integration/refine.h"
#include "halo/integration/refine_update.h"

namespace halo {
namespace {

// What was written during a settle is folded in round by round; the last round, which holds up
// writers, has at most this many.
constexpr std::size_t kLastRound = 256;

LiveOptions without_background(LiveOptions options) {
  options.background = false;
  return options;
}

LiveOptions of_snapshot(const std::shared_ptr<const Engine>& engine, LiveOptions options) {
  if (!engine) throw Error(ErrorCode::kInvalidArgument, "a live engine without an engine");
  const GraphSnapshot& snapshot = *engine->snapshot();
  options.build.metric = snapshot.metric();
  options.build.M = snapshot.M();
  options.build.ef_construction = snapshot.ef_construction();
  options.build.seed = snapshot.seed();
  return without_background(options);
}

// Vectors under ids, one after the other.
struct Rows {
  std::vector<Id> ids;
  std::vector<float> values;
  void add(Id id, std::span<const float> vector) {
    ids.push_back(id);
    values.insert(values.end(), vector.begin(), vector.end());
  }
  MatrixView matrix(std::size_t dim) const { return {values.data(), ids.size(), dim}; }
};

void refuse_twice(std::span<const Id> ids) {
  std::unordered_set<Id> seen;
  for (const Id id : ids) {
    if (!seen.insert(id).second) {
      throw Error(ErrorCode::kDuplicateId, "id " + std::to_string(id) + " is given twice");
    }
  }
}

// The nodes that both filters allow; both are bits, or empty.
Filter both(const Filter& a, const Filter& b) {
  if (a.bits() == nullptr) return b;
  if (b.bits() == nullptr) return a;
  auto bits = std::make_shared<std::vector<std::uint64_t>>(*a.bits());
  for (std::size_t i = 0; i < bits->size(); ++i) {
    (*bits)[i] &= i < b.bits()->size() ? (*b.bits())[i] : 0;
  }
  return Filter::of_bits(std::move(bits));
}

// One query's results while fresh vectors are put among them.
struct Ranking {
  std::vector<Id> ids;
  std::vector<float> scores, distances;
  std::vector<std::uint32_t> ranks;
};

Ranking sealed_ranking(const BatchResults& from, std::size_t q) {
  Ranking ranking;
  const std::size_t first = q * from.k;
  for (std::size_t i = first; i < first + from.found[q]; ++i) {
    ranking.ids.push_back(from.ids[i]);
    ranking.scores.push_back(from.scores[i]);
    ranking.distances.push_back(from.distances[i]);
    ranking.ranks.push_back(from.plain_ranks[i]);
  }
  return ranking;
}

Ranking plain_ranking(const BatchResults& from, std::size_t q) {
  Ranking ranking;
  for (std::size_t i = q * from.k; i < (q + 1) * from.k && from.plain_ids[i] >= 0; ++i) {
    ranking.ids.push_back(from.plain_ids[i]);
    ranking.distances.push_back(from.plain_distances[i]);
  }
  return ranking;
}

// How the scores of a query's results came about.
enum class Scores { kDistance, kMinusDistance, kFused };

// Where each fresh vector stands in the plain order of all, counted from 0.
std::vector<std::size_t> plain_places(const Ranking& plain, std::span<const LiveNeighbour> fresh) {
  std::vector<std::size_t> places;
  for (std::size_t f = 0; f < fresh.size(); ++f) {
    const auto at =
        std::lower_bound(plain.distances.begin(), plain.distances.end(), fresh[f].distance);
    places.push_back(static_cast<std::size_t>(at - plain.distances.begin()) + f);
  }
  return places;
}

// `sealed` with each of `fresh` at its place.
Ranking merged(const Ranking& sealed, std::span<const LiveNeighbour> fresh,
               std::span<const std::size_t> places, Scores kind, std::size_t k) {
  Ranking all;
  std::size_t s = 0, f = 0;
  while (all.ids.size() < k && (s < sealed.ids.size() || f < fresh.size())) {
    const bool take_fresh =
        f < fresh.size() && (s == sealed.ids.size() || places[f] <= all.ids.size());
    if (take_fresh) {
      const float distance = fresh[f].distance;
      float score = distance;
      if (kind == Scores::kMinusDistance) score = -distance;
      if (kind == Scores::kFused) {  // that of the result it goes before, or after
        score = s < sealed.ids.size() ? sealed.scores[s]
                : all.scores.empty()  ? 0.0F
                                      : all.scores.back();
      }
      all.ids.push_back(fresh[f].id);
      all.scores.push_back(score);
      all.distances.push_back(distance);
      all.ranks.push_back(static_cast<std::uint32_t>(places[f] + 1));
      ++f;
    } else {
      all.ids.push_back(sealed.ids[s]);
      all.scores.push_back(sealed.scores.empty() ? 0.0F : sealed.scores[s]);
      all.distances.push_back(sealed.distances[s]);
      std::uint32_t rank = sealed.ranks.empty() ? 0 : sealed.ranks[s];
      if (rank != 0) {  // the fresh vectors that are nearer push it back
        rank += static_cast<std::uint32_t>(
            std::count_if(fresh.begin(), fresh.end(), [&](const LiveNeighbour& neighbour) {
              return neighbour.distance <= sealed.distances[s];
            }));
      }
      all.ranks.push_back(rank);
      ++s;
    }
  }
  return all;
}

}  // namespace

LiveEngine::LiveEngine(std::size_t dim, const LiveOptions& options)
    : dim_(dim),
      options_(without_background(options)),
      published_(std::make_shared<const Generation>(
          Generation{std::make_shared<LiveIndex>(dim, options_), nullptr})) {}

LiveEngine::LiveEngine(std::shared_ptr<const Engine> engine, const LiveOptions& options)
    : dim_(engine ? engine->snapshot()->dim() : 0),
      options_(of_snapshot(engine, options)),
      published_(std::make_shared<const Generation>(
          Generation{std::make_shared<LiveIndex>(engine->snapshot(), options_), engine})) {}

LiveEngine::~LiveEngine() = default;

void LiveEngine::publish(std::shared_ptr<LiveIndex> live, std::shared_ptr<const Engine> engine) {
  published_.publish(std::make_unique<Published::Cell>(
      std::make_shared<const Generation>(Generation{std::move(live), std::move(engine)})));
}

void LiveEngine::wrote(std::span<const Id> ids) {
  if (recording_) written_.insert(written_.end(), ids.begin(), ids.end());
  published_.reclaim();
}

// Room for what wrote() will note is made first: a write that is done cannot fail any more.
void LiveEngine::add(const MatrixView& vectors, std::span<const Id> ids, const Job& job) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (recording_) written_.reserve(written_.size() + ids.size());
  load()->live->add(vectors, ids, job);
  wrote(ids);
}

void LiveEngine::update(const MatrixView& vectors, std::span<const Id> ids, const Job& job) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (recording_) written_.reserve(written_.size() + ids.size());
  load()->live->update(vectors, ids, job);
  wrote(ids);
}

void LiveEngine::upsert(const MatrixView& vectors, std::span<const Id> ids, const Job& job) {
  if (vectors.cols != dim_) {
    throw Error(ErrorCode::kDimensionMismatch, "vectors of " + std::to_string(vectors.cols) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(dim_));
  }
  if (vectors.rows != ids.size()) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(ids.size()) + " ids for " +
                                                 std::to_string(vectors.rows) + " vectors");
  }
  refuse_twice(ids);
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (recording_) written_.reserve(written_.size() + ids.size());
  LiveIndex& live = *load()->live;
  Rows fresh, changed;
  const LiveView view = live.view();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    (view.contains(ids[i]) ? changed : fresh).add(ids[i], vectors.row_span(i));
  }
  if (!fresh.ids.empty()) live.add(fresh.matrix(dim_), fresh.ids, job);
  if (!changed.ids.empty()) {
    try {
      live.update(changed.matrix(dim_), changed.ids, job);
    } catch (...) {
      if (!fresh.ids.empty()) live.remove(fresh.ids);
      throw;
    }
  }
  wrote(ids);
}

void LiveEngine::remove(std::span<const Id> ids) {
  const std::lock_guard<std::mutex> lock(write_mutex_);
  if (recording_) written_.reserve(written_.size() + ids.size());
  load()->live->remove(ids);
  wrote(ids);
}

void LiveEngine::check_vectors(const MatrixView& vectors) const {
  if (vectors.cols != dim_) {
    throw Error(ErrorCode::kDimensionMismatch, "vectors of " + std::to_string(vectors.cols) +
                                                   " floats for an index of dimension " +
                                                   std::to_string(dim_));
  }
  halo::check_vectors(metric(), vectors);
}

std::size_t LiveEngine::size() const { return load()->live->size(); }

bool LiveEngine::contains(Id id) const { return load()->live->contains(id); }

std::optional<std::vector<float>> LiveEngine::vector(Id id) const {
  const LiveView view = load()->live->view();
  const auto vector = view.vector(id);
  if (!vector) return std::nullopt;
  return std::vector<float>(vector->begin(), vector->end());
}

std::size_t LiveEngine::unsettled() const {
  const LiveIndex::Stats stats = load()->live->stats();
  return stats.delta + stats.sealed_removed;
}

std::shared_ptr<const Engine> LiveEngine::engine() const { return load()->engine; }

BatchResults LiveEngine::search(const MatrixView& queries, const QueryOptions& options,
                                const Executor& executor, const Job& job,
                                const IdFilter& filter) const try {
  const auto start = std::chrono::steady_clock::now();
  if (options.k == 0) throw Error(ErrorCode::kInvalidArgument, "k is 0, not at least 1");
  if (!options.filter.empty()) {
    throw Error(ErrorCode::kInvalidArgument, "a live engine filters ids, not nodes");
  }
  const bool refining = options.refine != RefineMode::kOff;
  if (refining && options.k > options.candidates) {
    throw Error(ErrorCode::kInvalidArgument,
                "k = " + std::to_string(options.k) + " is more than the " +
                    std::to_string(options.candidates) + " candidates");
  }
  const auto now = load();
  const LiveView view = now->live->view();
  if (refining && !now->engine) {
    throw Error(ErrorCode::kNotPrepared, "this index was never refined: prepare it first");
  }
  const bool fresh = view.unsealed_size() > 0 || !now->engine;
  BatchResults results;
  if (now->engine) {
    const GraphSnapshot& snapshot = *now->engine->snapshot();
    QueryOptions sealed = options;
    sealed.observer = nullptr;
    sealed.k = std::min(options.k, snapshot.size());
    sealed.explain = options.explain || (fresh && refining);
    sealed.filter = view.sealed_filter();
    if (filter.nodes) {
      sealed.filter = both(filter.nodes(now->engine->snapshot()), sealed.filter);
    } else if (filter.allows) {
      sealed.filter =
          Filter::of_predicate([&snapshot, &filter, lives = view.sealed_filter()](Node node) {
            return lives.allows(node) && filter.allows(snapshot.id(node));
          });
    }
    results = now->engine->search(queries, sealed, executor, job);
  } else {
    results.found.assign(queries.rows, 0);
    results.answers.assign(queries.rows, Answer::kWhole);
    results.latency_seconds.assign(queries.rows, 0.0);
  }
  if (fresh || results.k != options.k) {
    search_unsettled(*now, view, queries, options, filter, executor, job, results);
  }
  results.wall_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (options.observer != nullptr) options.observer->searched(options, results);
  return results;
} catch (const Error& error) {
  if (options.observer != nullptr) options.observer->failed(options, error.code());
  throw;
}

// Lays `results` out for options.k places a query, the fresh vectors among them.
void LiveEngine::search_unsettled(const Generation& now, const LiveView& view,
                                  const MatrixView& queries, const QueryOptions& options,
                                  const IdFilter& filter, const Executor& executor, const Job& job,
                                  BatchResults& results) const {
  const bool refining = options.refine != RefineMode::kOff;
  const bool explained = !results.plain_ids.empty();
  BatchResults all = std::move(results);
  BatchResults sealed;
  sealed.k = all.k;
  sealed.ids.swap(all.ids);
  sealed.scores.swap(all.scores);
  sealed.found = all.found;
  sealed.plain_ids.swap(all.plain_ids);
  sealed.plain_distances.swap(all.plain_distances);
  sealed.distances.swap(all.distances);
  sealed.plain_ranks.swap(all.plain_ranks);
  if (!explained) {  // plain results are their own plain order
    sealed.distances = sealed.scores;
    sealed.plain_ids = sealed.ids;
    sealed.plain_distances = sealed.scores;
    sealed.plain_ranks.assign(sealed.ids.size(), 0);
  }
  const std::size_t k = options.k, places = queries.rows * k;
  all.k = k;
  all.ids.assign(places, Id{-1});
  all.scores.assign(places, 0.0F);
  if (options.explain) {
    all.plain_ids.assign(places, Id{-1});
    all.plain_distances.assign(places, 0.0F);
    all.distances.assign(places, 0.0F);
    all.plain_ranks.assign(places, 0);
  }
  const std::size_t wanted = std::min(k, view.unsealed_size());
  LiveSearchOptions live_options;
  live_options.k = std::max<std::size_t>(wanted, 1);
  live_options.ef = options.ef;
  live_options.filter = filter.allows;
  std::vector<LiveScratch> scratch(executor.threads());
  std::vector<double> seconds(queries.rows);
  executor.parallel_for_workers(
      queries.rows, 8, [&](std::size_t worker, std::size_t begin, std::size_t end) {
        std::vector<LiveNeighbour> fresh(live_options.k);
        for (std::size_t q = begin; q < end; ++q) {
          job.check();
          const auto start = std::chrono::steady_clock::now();
          if (!now.engine && options.deadline.passed()) all.answers[q] = Answer::kNone;
          if (all.answers[q] == Answer::kNone) continue;
          std::size_t found = 0;
          if (wanted > 0 || !now.engine) {
            found = view.search_unsealed(queries.row_span(q), live_options, scratch[worker], fresh);
          }
          const auto nearest = std::span<const LiveNeighbour>(fresh).first(found);
          const Ranking plain = plain_ranking(sealed, q);
          const auto where = plain_places(plain, nearest);
          const Scores kind = !refining                          ? Scores::kDistance
                              : all.answers[q] == Answer::kPlain ? Scores::kMinusDistance
                                                                 : Scores::kFused;
          const Ranking ranking = merged(sealed_ranking(sealed, q), nearest, where, kind, k);
          all.found[q] = ranking.ids.size();
          std::copy(ranking.ids.begin(), ranking.ids.end(), all.ids.data() + q * k);
          std::copy(ranking.scores.begin(), ranking.scores.end(), all.scores.data() + q * k);
          if (options.explain) {
            std::copy(ranking.distances.begin(), ranking.distances.end(),
                      all.distances.data() + q * k);
            std::copy(ranking.ranks.begin(), ranking.ranks.end(), all.plain_ranks.data() + q * k);
            const Ranking before = merged(plain, nearest, where, Scores::kDistance, k);
            std::copy(before.ids.begin(), before.ids.end(), all.plain_ids.data() + q * k);
            std::copy(before.distances.begin(), before.distances.end(),
                      all.plain_distances.data() + q * k);
          }
          const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
          seconds[q] = taken.count();
          all.latency_seconds[q] += seconds[q];
        }
      });
  all.search_seconds += std::accumulate(seconds.begin(), seconds.end(), 0.0);
  all.partial = std::any_of(all.answers.begin(), all.answers.end(),
                            [](Answer answer) { return answer != Answer::kWhole; });
  results = std::move(all);
}

// The snapshot of what lives in `view`; null where nothing does.
std::shared_ptr<const GraphSnapshot> LiveEngine::fold(const LiveView& view,
                                                      const Executor& executor,
                                                      const Job& job) const {
  Rows fresh;
  view.for_each_unsealed([&](Id id, std::span<const float> vector) { fresh.add(id, vector); });
  auto snapshot = view.sealed();
  const Filter lives = view.sealed_filter();
  if (snapshot && !lives.empty()) {
    std::vector<Id> gone;
    for (Node node = 0; node < snapshot->size(); ++node) {
      if (!lives.allows(node)) gone.push_back(snapshot->id(node));
    }
    LiveIndex without(snapshot, options_);
    without.remove(gone);
    snapshot = without.seal(executor, job);
  }
  if (fresh.ids.empty()) return snapshot;
  VectorIndex index = snapshot
                          ? VectorIndex::resume(*snapshot, executor, options_.build.deterministic)
                          : VectorIndex(dim_, options_.build);
  index.add(fresh.matrix(dim_), fresh.ids, executor, job);
  return index.seal(executor, job);
}

// Brings `next` to what `ids` are now.
void LiveEngine::catch_up(LiveIndex& next, std::span<const Id> ids) const {
  const LiveView view = load()->live->view();
  Rows added, updated;
  std::vector<Id> removed;
  const std::unordered_set<Id> once(ids.begin(), ids.end());
  for (const Id id : once) {
    const auto vector = view.vector(id);
    const bool there = next.contains(id);
    if (vector) (there ? updated : added).add(id, *vector);
    if (!vector && there) removed.push_back(id);
  }
  if (!added.ids.empty()) next.add(added.matrix(dim_), added.ids);
  if (!updated.ids.empty()) next.update(updated.matrix(dim_), updated.ids);
  if (!removed.empty()) next.remove(removed);
}

// Publishes `engine` with what was written since recording began.
void LiveEngine::swap_in(const std::shared_ptr<const Engine>& engine) {
  const auto next = engine ? std::make_shared<LiveIndex>(engine->snapshot(), options_)
                           : std::make_shared<LiveIndex>(dim_, options_);
  for (;;) {
    std::unique_lock<std::mutex> lock(write_mutex_);
    const std::vector<Id> written = std::exchange(written_, {});
    if (written.size() <= kLastRound) {
      catch_up(*next, written);
      publish(next, engine);
      return;
    }
    lock.unlock();
    catch_up(*next, written);
  }
}

std::shared_ptr<const Engine> LiveEngine::settle_locked(const SettleOptions& options,
                                                        const Executor& executor, const Job& job) {
  struct Recording {
    explicit Recording(LiveEngine& engine) : of(engine) {}
    ~Recording() {
      const std::lock_guard<std::mutex> lock(of.write_mutex_);
      of.recording_ = false;
      of.written_ = {};
    }
    Recording(const Recording&) = delete;
    Recording& operator=(const Recording&) = delete;
    LiveEngine& of;
  };
  const Recording recording(*this);
  std::shared_ptr<const Generation> before;
  std::optional<LiveView> view;
  {
    const std::lock_guard<std::mutex> lock(write_mutex_);
    recording_ = true;
    before = load();
    view = before->live->view();
  }
  const bool changed = view->unsealed_size() > 0 || !view->sealed_filter().empty();
  const auto old_model = before->engine ? before->engine->model() : nullptr;
  if (!changed && (!options.refine || !before->engine)) return before->engine;

  std::shared_ptr<const Engine> next;
  const auto snapshot = changed ? fold(*view, executor, job) : before->engine->snapshot();
  if (snapshot) {
    Engine engine(snapshot, nullptr, changed ? nullptr : before->engine->trained());
    if (options.refine) {
      engine = engine.refined(options.options, executor, job, options.sample_queries);
    } else if (old_model) {
      engine = before->engine->with_snapshot(snapshot, executor, job);
      engine =
          options.sample_queries.rows > 0 || full_refine_advised(engine.model()->parts())
              ? engine.refined(old_model->parts().options, executor, job, options.sample_queries)
              : engine.recomputed(executor, job);
    }
    const auto fusion = before->engine ? before->engine->fusion() : nullptr;
    if (fusion && engine.model() && fusion->fits(*engine.model())) {
      engine = engine.with_fusion(fusion);
    }
    next = std::make_shared<const Engine>(std::move(engine));
  }
  job.check();
  if (changed) {
    swap_in(next);
  } else {
    const std::lock_guard<std::mutex> lock(write_mutex_);
    publish(before->live, next);
  }
  return next;
}

std::shared_ptr<const Engine> LiveEngine::settle(const SettleOptions& options,
                                                 const Executor& executor, const Job& job) {
  const std::lock_guard<std::mutex> lock(settle_mutex_);
  return settle_locked(options, executor, job);
}

TrainReport LiveEngine::train(const std::function<TrainingData(const GraphSnapshot&)>& data,
                              const TrainOptions& options, const Executor& executor,
                              const Job& job) {
  const std::lock_guard<std::mutex> lock(settle_mutex_);
  const auto engine = settle_locked({}, executor, job);
  if (!engine) throw Error(ErrorCode::kEmpty, "no vectors to train on");
  TrainReport report = halo::train(*engine, data(*engine->snapshot()), options, executor, job);
  if (report.model) {
    auto trained = std::make_shared<const Engine>(engine->with_trained(report.model));
    const std::lock_guard<std::mutex> write_lock(write_mutex_);
    publish(load()->live, std::move(trained));
  }
  return report;
}

}  // namespace halo
