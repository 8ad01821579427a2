#include "halo/integration/service/collection.h"

#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <limits>
#include <map>
#include <set>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "halo/core/error.h"
#include "halo/gnn/harm_gate.h"

namespace halo::service {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::json;

constexpr std::size_t kSamples = 256;
constexpr std::size_t kKnownJobs = 64;
constexpr std::size_t kMinChanges = 4096;
constexpr double kChangeShare = 0.1;
constexpr std::chrono::seconds kLook{1};  // how often the worker looks whether a settle is due

// A record of the log: ids with their new vectors, and ids that are gone.
//   u32 vectors, u32 removed, u32 dim; then (i64 id, f32 x dim) each, then i64 each
struct Record {
  std::vector<Id> ids, removed;
  std::vector<float> vectors;

  std::string encode(std::size_t dim) const {
    std::string bytes;
    const auto put = [&](const void* data, std::size_t size) {
      bytes.append(static_cast<const char*>(data), size);
    };
    const std::uint32_t head[3] = {static_cast<std::uint32_t>(ids.size()),
                                   static_cast<std::uint32_t>(removed.size()),
                                   static_cast<std::uint32_t>(dim)};
    put(head, sizeof(head));
    put(ids.data(), ids.size() * sizeof(Id));
    put(vectors.data(), vectors.size() * sizeof(float));
    put(removed.data(), removed.size() * sizeof(Id));
    return bytes;
  }
  static Record decode(std::string_view bytes, std::size_t dim) {
    std::uint32_t head[3] = {};
    if (bytes.size() >= sizeof(head)) std::memcpy(head, bytes.data(), sizeof(head));
    const std::uint64_t wanted = sizeof(head) +
                                 head[0] * (sizeof(Id) + std::uint64_t{dim} * sizeof(float)) +
                                 std::uint64_t{head[1]} * sizeof(Id);
    if (bytes.size() < sizeof(head) || head[2] != dim || bytes.size() != wanted) {
      throw Error(ErrorCode::kCorrupt, "the store: a log record of another shape");
    }
    Record record;
    record.ids.resize(head[0]);
    record.vectors.resize(head[0] * dim);
    record.removed.resize(head[1]);
    const char* from = bytes.data() + sizeof(head);
    const auto take = [&](auto& to) {
      const std::size_t size = to.size() * sizeof(to[0]);
      if (size != 0) std::memcpy(to.data(), from, size);
      from += size;
    };
    take(record.ids);
    take(record.vectors);
    take(record.removed);
    return record;
  }
};

LiveOptions live_options(const BuildOptions& build) {
  LiveOptions options;
  options.build = build;
  return options;
}

Json manifest_of(const LiveEngine& engine, const BuildOptions& build, const std::string& file,
                 std::uint64_t sequence) {
  return {{"version", 1},
          {"dim", engine.dim()},
          {"metric", metric_name(engine.metric())},
          {"M", build.M},
          {"ef_construction", build.ef_construction},
          {"seed", build.seed},
          {"file", file},
          {"sequence", sequence}};
}

nlohmann::ordered_json table_of(const TrainReport& report) {
  auto table = nlohmann::ordered_json::array();
  for (const TrainCandidate& candidate : report.table) {
    nlohmann::ordered_json line = {{"name", candidate.name}};
    if (candidate.gain) {
      line["gain"] = {candidate.gain->low, candidate.gain->high};
    }
    table.push_back(std::move(line));
  }
  return table;
}

}  // namespace

struct Collection::Write {
  std::vector<ItemWrite> items;
  std::vector<Id> removed;  // of a remove(): after the commit, those that lived
  Record record;            // made by the commit
  std::vector<Id> bare;     // new ids without metadata
  std::exception_ptr error;
  bool done = false;
};

Collection::Collection(fs::path folder) : folder_(std::move(folder)), store_(folder_ / "store") {}

std::unique_ptr<Collection> Collection::create(const fs::path& folder,
                                               const CollectionOptions& options) {
  auto engine = std::make_unique<LiveEngine>(options.dim, live_options(options.build));
  std::unique_ptr<Collection> made(new Collection(folder));
  made->engine_ = std::move(engine);
  made->store_.write([&](Store::Transaction& transaction) {
    transaction.put_setting("manifest", manifest_of(*made->engine_, options.build, "", 0).dump());
  });
  made->worker_ = std::jthread([c = made.get()](const std::stop_token& stop) { c->work(stop); });
  return made;
}

std::unique_ptr<Collection> Collection::create(const fs::path& folder,
                                               std::shared_ptr<const Engine> engine) {
  std::unique_ptr<Collection> made(new Collection(folder));
  made->engine_ = std::make_unique<LiveEngine>(engine, LiveOptions{});
  for (const Id id : engine->snapshot()->ids()) made->metadata_.touch(id, false);
  made->save(engine, 0);
  made->worker_ = std::jthread([c = made.get()](const std::stop_token& stop) { c->work(stop); });
  return made;
}

std::unique_ptr<Collection> Collection::open(const fs::path& folder) {
  if (!fs::exists(folder / "store" / "data.mdb")) {
    throw Error(ErrorCode::kNotFound, folder.string() + " holds no collection");
  }
  std::unique_ptr<Collection> opened(new Collection(folder));
  opened->load();
  opened->worker_ =
      std::jthread([c = opened.get()](const std::stop_token& stop) { c->work(stop); });
  return opened;
}

Collection::~Collection() = default;

void Collection::load() {
  const auto text = store_.setting("manifest");
  // A crash between the creation of the store and its first write: nothing was acknowledged.
  if (!text) throw Error(ErrorCode::kNotFound, folder_.string() + " holds no finished collection");
  std::uint64_t sequence = 0;
  try {
    const Json manifest = Json::parse(*text);
    file_ = manifest.at("file").get<std::string>();
    sequence = manifest.at("sequence").get<std::uint64_t>();
    if (!file_.empty()) {
      auto engine = std::make_shared<const Engine>(Engine::load(folder_ / file_));
      for (const Id id : engine->snapshot()->ids()) metadata_.touch(id, false);
      engine_ = std::make_unique<LiveEngine>(std::move(engine), LiveOptions{});
    } else {
      BuildOptions build;
      build.metric = parse_metric(manifest.at("metric").get<std::string>());
      build.M = manifest.at("M").get<std::size_t>();
      build.ef_construction = manifest.at("ef_construction").get<std::size_t>();
      build.seed = manifest.at("seed").get<std::uint64_t>();
      engine_ =
          std::make_unique<LiveEngine>(manifest.at("dim").get<std::size_t>(), live_options(build));
    }
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kCorrupt, folder_.string() + ": the manifest: " + error.what());
  }
  applied_ = saved_ = sequence;
  store_.for_each_record(
      sequence, [&](std::uint64_t number, std::string_view record) { replay(number, record); });
  store_.for_each_item(0, [&](Id id, std::string_view metadata) {
    metadata_.put(id, Json::parse(metadata));
    return true;
  });
  // Files that a crash left beside the one the manifest names.
  for (const auto& entry : fs::directory_iterator(folder_)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && name.rfind("index-", 0) == 0 && name != file_) {
      fs::remove(entry.path());
    }
  }
}

void Collection::replay(std::uint64_t sequence, std::string_view bytes) {
  const Record record = Record::decode(bytes, engine_->dim());
  if (!record.ids.empty()) {
    engine_->upsert({record.vectors.data(), record.ids.size(), engine_->dim()}, record.ids);
    for (const Id id : record.ids) metadata_.touch(id, false);
  }
  std::vector<Id> removed;
  for (const Id id : record.removed) {
    if (engine_->contains(id)) removed.push_back(id);
  }
  if (!removed.empty()) engine_->remove(removed);
  applied_ = sequence;
}

std::vector<std::pair<Id, std::string>> Collection::items(Id first, std::size_t limit) const {
  std::vector<std::pair<Id, std::string>> found;
  store_.for_each_item(first, [&](Id id, std::string_view metadata) {
    found.emplace_back(id, metadata);
    return found.size() < limit;
  });
  return found;
}

void Collection::upsert(std::vector<ItemWrite> items) {
  std::unordered_set<Id> seen;
  for (const ItemWrite& item : items) {
    if (item.id < 0) throw Error(ErrorCode::kInvalidArgument, "an id below 0");
    if (!seen.insert(item.id).second) {
      throw Error(ErrorCode::kDuplicateId, "id " + std::to_string(item.id) + " is given twice");
    }
    if (item.vector.empty()) continue;
    try {
      engine_->check_vectors({item.vector.data(), 1, item.vector.size()});
    } catch (const Error& error) {
      throw Error(error.code(), "id " + std::to_string(item.id) + ": " + error.what());
    }
  }
  Write write;
  write.items = std::move(items);
  submit(write);
}

std::size_t Collection::remove(std::span<const Id> ids) {
  Write write;
  const std::set<Id> once(ids.begin(), ids.end());
  write.removed.assign(once.begin(), once.end());
  submit(write);
  return write.removed.size();
}

// The first writer to come commits for those that came while the last commit ran.
void Collection::submit(Write& write) {
  std::unique_lock<std::mutex> lock(queue_mutex_);
  queue_.push_back(&write);
  committed_.wait(lock, [&] { return write.done || !committing_; });
  if (!write.done) {
    committing_ = true;
    const std::vector<Write*> together = std::exchange(queue_, {});
    lock.unlock();
    commit(together);
    lock.lock();
    for (Write* one : together) one->done = true;
    committing_ = false;
    committed_.notify_all();
  }
  lock.unlock();
  if (write.error) std::rethrow_exception(write.error);
}

void Collection::commit(std::span<Write* const> writes) {
  try {
    if (failed_) {
      throw Error(ErrorCode::kInternal,
                  "a logged write could not be applied: restart the service to go on writing");
    }
    // What lives once the writes before have been applied.
    std::unordered_map<Id, bool> lives;
    const auto lives_now = [&](Id id) {
      const auto at = lives.find(id);
      return at == lives.end() ? engine_->contains(id) : at->second;
    };
    for (Write* write : writes) {
      try {
        for (const ItemWrite& item : write->items) {
          if (item.vector.empty() && !lives_now(item.id)) {
            throw Error(ErrorCode::kUnknownId, "there is no item " + std::to_string(item.id) +
                                                   ", and a new one needs a vector");
          }
        }
        for (const ItemWrite& item : write->items) {
          if (item.vector.empty()) continue;
          if (!item.metadata && !lives_now(item.id)) write->bare.push_back(item.id);
          lives[item.id] = true;
          write->record.ids.push_back(item.id);
          write->record.vectors.insert(write->record.vectors.end(), item.vector.begin(),
                                       item.vector.end());
        }
        std::erase_if(write->removed, [&](Id id) { return !lives_now(id); });
        for (const Id id : write->removed) lives[id] = false;
        write->record.removed = write->removed;
      } catch (const Error&) {
        write->error = std::current_exception();
      }
    }
    std::uint64_t sequence = applied_;
    store_.write([&](Store::Transaction& transaction) {
      for (const Write* write : writes) {
        if (write->error) continue;
        if (!write->record.ids.empty() || !write->record.removed.empty()) {
          transaction.append_log(++sequence, write->record.encode(engine_->dim()));
        }
        for (const ItemWrite& item : write->items) {
          if (item.metadata) transaction.put_item(item.id, item.metadata->dump());
        }
        for (const Id id : write->bare) transaction.put_item(id, "{}");
        for (const Id id : write->removed) transaction.erase_item(id);
      }
    });
    ++commits_;
    for (Write* write : writes) {
      if (!write->error) apply(*write);
    }
    applied_ = sequence;
  } catch (...) {
    for (Write* write : writes) {
      if (!write->error) write->error = std::current_exception();
    }
  }
}

void Collection::apply(Write& write) {
  try {
    for (const ItemWrite& item : write.items) {
      if (item.metadata) {
        metadata_.put(item.id, *item.metadata);
      } else {
        metadata_.touch(item.id, false);
      }
    }
    if (!write.record.ids.empty()) {
      engine_->upsert({write.record.vectors.data(), write.record.ids.size(), engine_->dim()},
                      write.record.ids);
    }
    if (!write.removed.empty()) engine_->remove(write.removed);
    for (const Id id : write.removed) metadata_.touch(id, true);
    ++writes_;
  } catch (...) {
    failed_ = true;
    write.error = std::current_exception();
  }
}

void Collection::saw_query(std::span<const float> query) {
  const std::lock_guard<std::mutex> lock(sample_mutex_);
  if (samples_.size() < kSamples) {
    samples_.emplace_back(query.begin(), query.end());
  } else {
    samples_[next_sample_].assign(query.begin(), query.end());
    next_sample_ = (next_sample_ + 1) % kSamples;
  }
}

Matrix Collection::sampled() const {
  const std::lock_guard<std::mutex> lock(sample_mutex_);
  if (samples_.size() < gnn::kCoherenceQueries) return {};
  Matrix matrix(samples_.size(), engine_->dim());
  for (std::size_t i = 0; i < samples_.size(); ++i) {
    std::copy(samples_[i].begin(), samples_[i].end(), matrix.row(i));
  }
  return matrix;
}

bool Collection::settle_is_due() const {
  const std::size_t unsettled = engine_->unsettled();
  return unsettled >= kMinChanges &&
         static_cast<double>(unsettled) >= kChangeShare * static_cast<double>(engine_->size());
}

void Collection::checkpoint(const SettleOptions& options, const Executor& executor,
                            const halo::Job& job) {
  const std::uint64_t sequence = applied_;
  const auto before = engine_->engine();
  const auto engine = engine_->settle(options, executor, job);
  if (engine == before && sequence == saved_) return;
  save(engine, sequence);
}

// A new file, then the manifest that names it and forgets the log up to there, then the old file.
void Collection::save(const std::shared_ptr<const Engine>& engine, std::uint64_t sequence) {
  std::string file;
  if (engine) {
    // The same sequence can be saved twice: with another model.
    file = "index-" + std::to_string(sequence) + ".halo";
    if (file == file_) file = "index-" + std::to_string(sequence) + "b.halo";
    engine->save(folder_ / file);
  }
  BuildOptions build;
  build.metric = engine_->metric();
  if (engine) {
    build.M = engine->snapshot()->M();
    build.ef_construction = engine->snapshot()->ef_construction();
    build.seed = engine->snapshot()->seed();
  }
  store_.write([&](Store::Transaction& transaction) {
    transaction.put_setting("manifest", manifest_of(*engine_, build, file, sequence).dump());
    transaction.trim_log(sequence);
  });
  saved_ = sequence;
  const std::string old = std::exchange(file_, file);
  std::error_code ignored;  // the next start sweeps it away
  if (!old.empty()) fs::remove(folder_ / old, ignored);
}

std::uint64_t Collection::enqueue(std::string kind,
                                  std::function<nlohmann::ordered_json(const halo::Job&)> run) {
  const std::lock_guard<std::mutex> lock(jobs_mutex_);
  Task task;
  task.job.number = next_job_++;
  task.job.kind = std::move(kind);
  task.job.state = "waiting";
  task.run = std::move(run);
  known_.push_back(task.job);
  if (known_.size() > kKnownJobs) known_.pop_front();
  const std::uint64_t number = task.job.number;
  waiting_.push_back(std::move(task));
  wake_.notify_all();
  return number;
}

std::uint64_t Collection::refine(const gnn::RefineOptions& options, Matrix sample_queries) {
  options.validate();
  auto given = std::make_shared<const Matrix>(std::move(sample_queries));
  return enqueue("refine", [this, options, given](const halo::Job& job) {
    Matrix seen;
    if (given->empty()) seen = sampled();
    SettleOptions settle;
    settle.refine = true;
    settle.options = options;
    settle.sample_queries = given->empty() ? seen.view() : given->view();
    checkpoint(settle, Executor(1), job);
    const auto engine = engine_->engine();
    if (!engine) throw Error(ErrorCode::kEmpty, "no vectors to refine");
    const auto& parts = engine->model()->parts();
    nlohmann::ordered_json result = {{"vectors", engine->snapshot()->size()},
                                     {"heads", parts.heads.size()},
                                     {"sample_queries", settle.sample_queries.rows},
                                     {"gate", nullptr}};
    if (parts.calibrated_gate) result["gate"] = *parts.calibrated_gate;
    return result;
  });
}

std::uint64_t Collection::train(std::function<TrainingData(const GraphSnapshot&)> data,
                                const TrainOptions& options) {
  options.validate();
  return enqueue("train", [this, data = std::move(data), options](const halo::Job& job) {
    const std::uint64_t sequence = applied_;
    const TrainReport report = engine_->train(data, options, Executor(1), job);
    if (report.accepted) save(engine_->engine(), sequence);
    return nlohmann::ordered_json{{"accepted", report.accepted},
                                  {"reason", report.reason},
                                  {"examples", report.examples},
                                  {"validation", table_of(report)}};
  });
}

std::uint64_t Collection::settle() {
  return enqueue("settle", [this](const halo::Job& job) {
    const Matrix seen = sampled();
    SettleOptions options;
    options.sample_queries = seen;
    checkpoint(options, Executor(1), job);
    return nlohmann::ordered_json{{"vectors", engine_->size()}};
  });
}

std::optional<Collection::Job> Collection::job(std::uint64_t number) const {
  const std::lock_guard<std::mutex> lock(jobs_mutex_);
  for (const Job& job : known_) {
    if (job.number == number) return job;
  }
  return std::nullopt;
}

std::vector<Collection::Job> Collection::jobs() const {
  const std::lock_guard<std::mutex> lock(jobs_mutex_);
  return {known_.begin(), known_.end()};
}

void Collection::work(const std::stop_token& stop) {
  // Where cores are scarce, searches come first.
  setpriority(PRIO_PROCESS, 0, 10);
  const auto note = [&](const Job& job) {
    const std::lock_guard<std::mutex> lock(jobs_mutex_);
    for (Job& known : known_) {
      if (known.number == job.number) known = job;
    }
  };
  while (!stop.stop_requested()) {
    std::optional<Task> task;
    {
      std::unique_lock<std::mutex> lock(jobs_mutex_);
      wake_.wait_for(lock, stop, kLook, [&] { return !waiting_.empty(); });
      if (!waiting_.empty()) {
        task = std::move(waiting_.front());
        waiting_.pop_front();
      }
    }
    if (stop.stop_requested()) return;
    if (!task && settle_is_due()) {
      settle();
      continue;
    }
    if (!task) continue;
    task->job.state = "running";
    note(task->job);
    try {
      task->job.result = task->run(halo::Job{nullptr, stop});
      task->job.state = "done";
    } catch (const std::exception& error) {
      task->job.state = "failed";
      task->job.error = error.what();
    }
    note(task->job);
  }
}

Collection::Stats Collection::stats() const {
  Stats stats;
  const auto engine = engine_->engine();
  stats.vectors = engine_->size();
  stats.dim = engine_->dim();
  stats.metric = metric_name(engine_->metric());
  stats.unsettled = engine_->unsettled();
  stats.writes = writes_;
  stats.commits = commits_;
  stats.logged = applied_ - saved_;
  stats.refined = engine && engine->model();
  stats.trained = engine && engine->answers_trained();
  stats.writable = !failed_;
  const std::lock_guard<std::mutex> lock(sample_mutex_);
  stats.sampled_queries = samples_.size();
  return stats;
}

void Collection::close(std::stop_token stop) {
  worker_.request_stop();
  worker_.join();
  if (failed_) return;
  try {
    const Matrix seen = sampled();
    SettleOptions options;
    options.sample_queries = seen;
    checkpoint(options, Executor(0), halo::Job{nullptr, std::move(stop)});
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kCancelled) throw;
  }
}

}  // namespace halo::service
