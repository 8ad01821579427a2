// An index that is searched, refined too, while it is written to: a LiveIndex and the Engine of
// what it has sealed.
//
// A refined search orders what the model knows; vectors written since the last settle() have no
// states yet and take their plain rank among the results. settle() folds them in: it builds the
// next snapshot beside the old one, brings refinement along where there was any, and swaps.
// Refinement follows as refine_update.h says: only the neighbourhood of what was written is
// computed again, by the heads there are. Everything is prepared afresh where so much has changed
// that the heads may no longer fit, where sample queries are given, and where SettleOptions::refine
// asks.
//
// Thread-safety: everything may be called from any number of threads. Searches never wait. Writers
// exclude each other; settle() and train() exclude each other, and hold up writers only while they
// swap. A search that begins after a write returned sees all of it.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "halo/core/published.h"
#include "halo/gnn/refinement_model.h"
#include "halo/index/live_index.h"
#include "halo/integration/engine.h"
#include "halo/integration/train.h"

namespace halo {

struct SettleOptions {
  /// Prepare refinement from scratch, also where it was not prepared before.
  bool refine = false;
  gnn::RefineOptions options = {};
  /// Queries [q, dim] like those to come, at least 50, to calibrate the harm gate on; empty: none.
  MatrixView sample_queries = {};
};

/// Which ids a search may return.
struct IdFilter {
  /// Called by the searching threads; empty: all may.
  std::function<bool(Id)> allows;
  /// The same as bits over a snapshot's nodes, for who can say it faster than one by one; may be
  /// empty.
  std::function<Filter(const std::shared_ptr<const GraphSnapshot>&)> nodes;
};

class LiveEngine {
 public:
  /// Empty, of vectors of `dim` floats. Throws as LiveIndex. `options.background` is not used:
  /// settle() is the caller's to call.
  LiveEngine(std::size_t dim, const LiveOptions& options);
  /// Goes on where an engine is.
  LiveEngine(std::shared_ptr<const Engine> engine, const LiveOptions& options);
  ~LiveEngine();
  LiveEngine(const LiveEngine&) = delete;
  LiveEngine& operator=(const LiveEngine&) = delete;

  /// Writes: all or nothing, see LiveIndex for what they throw. upsert() adds new ids and gives
  /// living ones the new vector; ids given twice are refused.
  void add(const MatrixView& vectors, std::span<const Id> ids, const Job& job = {});
  void update(const MatrixView& vectors, std::span<const Id> ids, const Job& job = {});
  void upsert(const MatrixView& vectors, std::span<const Id> ids, const Job& job = {});
  void remove(std::span<const Id> ids);
  /// What upsert() would throw for these vectors, before anything is written.
  void check_vectors(const MatrixView& vectors) const;

  std::size_t size() const;
  std::size_t dim() const { return dim_; }
  Metric metric() const { return options_.build.metric; }
  bool contains(Id id) const;
  /// A copy of the vector as stored (of unit length under kCosine); nothing where the id does not
  /// live.
  std::optional<std::vector<float>> vector(Id id) const;
  /// Vectors written or removed since the last settle().
  std::size_t unsettled() const;

  /// As Engine::search over what lives now; `k` may exceed the size; options.filter must be
  /// empty. Throws as Engine::search; kNotPrepared also where nothing is settled yet and refinement
  /// is asked for.
  BatchResults search(const MatrixView& queries, const QueryOptions& options,
                      const Executor& executor, const Job& job = {},
                      const IdFilter& filter = {}) const;

  /// Everything settled; null where nothing is.
  std::shared_ptr<const Engine> engine() const;

  /// Folds in what was written before the call. A trained model is kept only where nothing had
  /// changed. Returns engine(): null where nothing lives. Throws kCancelled, kOutOfMemory, with
  /// everything as it was.
  std::shared_ptr<const Engine> settle(const SettleOptions& options, const Executor& executor,
                                       const Job& job = {});
  /// Settles, then halo::train() on the data that `data` makes of the snapshot; publishes the model
  /// where it was accepted.
  TrainReport train(const std::function<TrainingData(const GraphSnapshot&)>& data,
                    const TrainOptions& options, const Executor& executor, const Job& job = {});

 private:
  // What searches take: the live index's sealed snapshot is always the engine's.
  struct Generation {
    std::shared_ptr<LiveIndex> live;
    std::shared_ptr<const Engine> engine;
  };
  using Published = halo::Published<Generation>;

  std::shared_ptr<const Generation> load() const { return published_.load(); }
  void publish(std::shared_ptr<LiveIndex> live, std::shared_ptr<const Engine> engine);
  void wrote(std::span<const Id> ids);
  std::shared_ptr<const GraphSnapshot> fold(const LiveView& view, const Executor& executor,
                                            const Job& job) const;
  void catch_up(LiveIndex& next, std::span<const Id> ids) const;
  void swap_in(const std::shared_ptr<const Engine>& engine);
  std::shared_ptr<const Engine> settle_locked(const SettleOptions& options,
                                              const Executor& executor, const Job& job);
  void search_unsettled(const Generation& now, const LiveView& view, const MatrixView& queries,
                        const QueryOptions& options, const IdFilter& filter,
                        const Executor& executor, const Job& job, BatchResults& results) const;

  std::size_t dim_;
  LiveOptions options_;
  std::mutex settle_mutex_;  // taken before write_mutex_
  std::mutex write_mutex_;
  bool recording_ = false;       // a settle wants to know what is written meanwhile
  std::vector<Id> written_;      // what was
  mutable Published published_;  // published under write_mutex_
};

}  // namespace halo
