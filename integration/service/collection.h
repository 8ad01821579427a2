// One collection of the service: an index that changes, its items' metadata, and what makes both
// survive a crash.
//
// A write is logged in the store, on the disk, before it is applied and acknowledged; writes that
// arrive together share one commit. settle() folds the log into an index file now and then.
// On the disk a collection is a folder: store/ (LMDB) and index-<sequence>.halo, the file that the
// store's manifest names. Opening loads the file and applies the log's records after it; a record
// says what an id is afterwards, so applying it twice does no harm.
//
// Thread-safety: everything may be called from any number of threads. Searches never wait for
// writes.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/executor.h"
#include "halo/integration/live_engine.h"
#include "halo/integration/service/metadata.h"
#include "halo/integration/service/store.h"

namespace halo::service {

struct CollectionOptions {
  std::size_t dim = 0;
  BuildOptions build;
};

/// One item of an upsert: a vector, or metadata, or both; an id that does not live needs a vector.
struct ItemWrite {
  Id id = -1;
  std::vector<float> vector;               ///< empty: the vector stays
  std::optional<nlohmann::json> metadata;  ///< nothing: the metadata stay (none for a new id)
};

class Collection {
 public:
  /// A new collection in a folder that does not exist yet.
  static std::unique_ptr<Collection> create(const std::filesystem::path& folder,
                                            const CollectionOptions& options);
  /// The same, filled with what an engine holds.
  static std::unique_ptr<Collection> create(const std::filesystem::path& folder,
                                            std::shared_ptr<const Engine> engine);
  /// Loads, and applies what was logged since. Throws kCorrupt, kIo, kNotFound.
  static std::unique_ptr<Collection> open(const std::filesystem::path& folder);
  ~Collection();
  Collection(const Collection&) = delete;
  Collection& operator=(const Collection&) = delete;

  const LiveEngine& engine() const { return *engine_; }
  const MetadataTable& metadata() const { return metadata_; }
  std::optional<std::string> item(Id id) const { return store_.item(id); }
  /// Living ids from `first` on, ascending, with their metadata as JSON text ("{}" without any).
  std::vector<std::pair<Id, std::string>> items(Id first, std::size_t limit) const;

  /// All or nothing, and on the disk when it returns. Throws as LiveEngine::upsert, kUnknownId for
  /// an id without a vector that does not live.
  void upsert(std::vector<ItemWrite> items);
  /// Removes those of `ids` that live; returns how many did. On the disk when it returns.
  std::size_t remove(std::span<const Id> ids);

  /// What is done beside searches and writes, one after the other, by a thread of the collection's
  /// own: preparing refinement, training, folding in what was written.
  struct Job {
    std::uint64_t number = 0;
    std::string kind;
    std::string state;  ///< "waiting", "running", "done", "failed"
    std::string error;  ///< of a failed one
    nlohmann::ordered_json result;
  };
  std::uint64_t refine(const gnn::RefineOptions& options, Matrix sample_queries);
  std::uint64_t train(std::function<TrainingData(const GraphSnapshot&)> data,
                      const TrainOptions& options);
  std::uint64_t settle();
  std::optional<Job> job(std::uint64_t number) const;
  std::vector<Job> jobs() const;

  /// Remembers a query that was refined: jobs that prepare refinement calibrate it on those, where
  /// they are not given others.
  void saw_query(std::span<const float> query);

  struct Stats {
    std::size_t vectors = 0, dim = 0, unsettled = 0;
    std::uint64_t writes = 0, commits = 0, logged = 0;
    bool refined = false, trained = false, writable = true;
    std::size_t sampled_queries = 0;
    std::string metric;
  };
  Stats stats() const;

  /// Ends the thread and saves: no write may be in progress. Whatever is not saved when `stop` asks
  /// stays in the log, which is enough.
  void close(std::stop_token stop);

 private:
  struct Write;
  explicit Collection(std::filesystem::path folder);
  void load();
  void replay(std::uint64_t sequence, std::string_view record);
  void submit(Write& write);
  void commit(std::span<Write* const> writes);
  void apply(Write& write);
  void work(const std::stop_token& stop);
  std::uint64_t enqueue(std::string kind,
                        std::function<nlohmann::ordered_json(const halo::Job&)> run);
  void checkpoint(const SettleOptions& options, const Executor& executor, const halo::Job& job);
  void save(const std::shared_ptr<const Engine>& engine, std::uint64_t sequence);
  bool settle_is_due() const;
  Matrix sampled() const;

  std::filesystem::path folder_;
  Store store_;
  std::unique_ptr<LiveEngine> engine_;
  MetadataTable metadata_;

  std::mutex queue_mutex_;  // of writes waiting to be committed
  std::condition_variable committed_;
  std::vector<Write*> queue_;
  bool committing_ = false;
  std::atomic<std::uint64_t> applied_{0};  // sequence of the last record applied
  std::atomic<std::uint64_t> writes_{0}, commits_{0}, saved_{0};
  std::atomic<bool> failed_{false};  // logged, but not applied: only a restart mends that
  std::string file_;                 // the index file of the manifest; the worker's

  mutable std::mutex sample_mutex_;
  std::vector<std::vector<float>> samples_;
  std::size_t next_sample_ = 0;

  struct Task {
    Job job;
    std::function<nlohmann::ordered_json(const halo::Job&)> run;
  };
  mutable std::mutex jobs_mutex_;
  std::condition_variable_any wake_;
  std::deque<Task> waiting_;
  std::deque<Job> known_;  // the newest last
  std::uint64_t next_job_ = 1;
  std::jthread worker_;  // last: it uses the others
};

}  // namespace halo::service
