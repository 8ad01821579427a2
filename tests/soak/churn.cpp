#include "soak/churn.h"

#include <malloc.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <fstream>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <unordered_map>
#include <utility>

#include "halo/core/random.h"
#include "halo/index/exact_search.h"
#include "halo/index/live_index.h"
#include "halo/index/recall.h"
#include "halo/integration/engine.h"

namespace halo::test {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kNearest = 10;
constexpr std::size_t kRemembered = 1024;  // removed ids that may come back

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::size_t bytes_in_use() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

std::size_t bytes_resident() {
  malloc_trim(0);
  std::size_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

// Vector number `number` of the churn: one of many centres, and noise.
void fill_vector(const ChurnOptions& options, std::uint64_t number, float* out) {
  Random noise(options.seed + 1, number);
  Random centre(options.seed, noise.below(options.clusters));
  for (std::size_t d = 0; d < options.dim; ++d) {
    out[d] = static_cast<float>(centre.normal() + noise.normal());
  }
}

LiveOptions live_options(const ChurnOptions& options) {
  LiveOptions live;
  live.build.metric = options.metric;
  live.build.ef_construction = 100;
  live.min_changes = std::max<std::size_t>(256, options.live / 16);
  return live;
}

struct Tally {
  std::uint64_t adds = 0, updates = 0, removes = 0, searches = 0, wrong = 0, own = 0, missed = 0;
  double longest_write = 0;
  std::string first_wrong;
};

// One thread and what it knows.
class Churner {
 public:
  Churner(const ChurnOptions& options, LiveIndex& index, std::size_t number)
      : options_(options),
        index_(index),
        number_(number),
        target_(options.live / options.threads),
        random_(options.seed + 2, number),
        vector_(1, options.dim) {
    // What a churner knows must not look like growth of the index.
    live_.reserve(2 * target_);
    ids_.reserve(2 * target_);
    removed_.reserve(2 * kRemembered);
  }

  // 40% add (one in eight of them updates instead), 20% remove, 40% search. A removal takes as many
  // as came above the target, about two, so that the number of vectors stands still.
  void step() {
    const std::uint64_t dice = random_.below(10);
    if (dice < 4) {
      random_.below(8) == 0 && !live_.empty() ? update() : add();
    } else if (dice < 6) {
      const std::size_t above = live_.size() > target_ ? live_.size() - target_ : 0;
      remove(std::min(live_.size(), above + 1));
    } else {
      search();
    }
  }

  // Exactly the target's number of vectors, and no memory of past searches.
  void settle() {
    while (live_.size() < target_) add();
    if (live_.size() > target_) remove(live_.size() - target_);
    scratch_ = LiveScratch();
  }

  const Tally& tally() const { return tally_; }
  /// Of every live id, the number of its vector.
  const std::unordered_map<Id, std::uint64_t>& live() const { return live_; }

 private:
  template <class Write>
  void timed(Write&& write) {
    const auto start = Clock::now();
    write();
    tally_.longest_write = std::max(tally_.longest_write, seconds_since(start));
  }

  MatrixView next_vector() {
    fill_vector(options_, ++made_ * options_.threads + number_, vector_.row(0));
    return vector_;
  }
  std::uint64_t made() const { return made_ * options_.threads + number_; }

  void add() {
    Id id = 0;
    if (!removed_.empty() && random_.below(2) == 0) {
      id = removed_.back();
      removed_.pop_back();
    } else {
      id = static_cast<Id>(next_id_++ * options_.threads + number_);
    }
    const MatrixView vector = next_vector();
    timed([&] { index_.add(vector, std::span(&id, 1)); });
    put(id);
    ++tally_.adds;
  }

  void put(Id id) {
    if (live_.emplace(id, made()).second) {
      ids_.push_back(id);
    } else {
      live_[id] = made();
    }
  }

  Id some_live() { return ids_[random_.below(ids_.size())]; }

  void update() {
    const Id id = some_live();
    const MatrixView vector = next_vector();
    timed([&] { index_.update(vector, std::span(&id, 1)); });
    put(id);
    ++tally_.updates;
  }

  void remove(std::size_t count) {
    std::vector<Id> ids;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t at = random_.below(ids_.size());
      ids.push_back(ids_[at]);
      ids_[at] = ids_.back();
      ids_.pop_back();
      live_.erase(ids.back());
    }
    timed([&] { index_.remove(ids); });
    if (removed_.size() < kRemembered) removed_.insert(removed_.end(), ids.begin(), ids.end());
    ++tally_.removes;
  }

  void search() {
    // For something new, or for what this thread has in the index.
    const bool own = !ids_.empty() && random_.below(2) == 0;
    const Id wanted = own ? some_live() : -1;
    fill_vector(options_, own ? live_.at(wanted) : random_(), vector_.row(0));
    const LiveView view = index_.view();
    const std::size_t found =
        view.search(vector_.row_span(0), {kNearest, 64, {}}, scratch_, nearest_);
    ++tally_.searches;
    expect(found == std::min(kNearest, view.size()), "fewer results than live vectors");
    std::set<Id> ids;
    for (std::size_t i = 0; i < found; ++i) {
      ids.insert(nearest_[i].id);
      expect(i == 0 || nearest_[i - 1].distance <= nearest_[i].distance, "results out of order");
      if (static_cast<std::size_t>(nearest_[i].id) % options_.threads != number_) continue;
      // One of its own: only this thread writes it.
      expect(live_.contains(nearest_[i].id), "a removed vector was found");
      expect(view.contains(nearest_[i].id), "a result that the view does not hold");
    }
    expect(ids.size() == found, "one id twice");
    if (!own) return;
    ++tally_.own;
    if (found == 0 || nearest_[0].id != wanted) ++tally_.missed;
    expect(view.contains(wanted), "an added vector is not there");
    const auto stored = view.vector(wanted);
    const float* expected = vector_.row(0);
    expect(stored && (options_.metric == Metric::kCosine ||
                      std::equal(stored->begin(), stored->end(), expected)),
           "another vector than was written");
  }

  void expect(bool right, const char* otherwise) {
    if (right) return;
    if (tally_.wrong++ == 0) tally_.first_wrong = otherwise;
  }

  const ChurnOptions& options_;
  LiveIndex& index_;
  std::size_t number_, target_;
  Random random_;
  Matrix vector_;
  std::uint64_t made_ = 0, next_id_ = 0;
  std::unordered_map<Id, std::uint64_t> live_;
  std::vector<Id> ids_, removed_;
  LiveScratch scratch_;
  std::vector<LiveNeighbour> nearest_ = std::vector<LiveNeighbour>(kNearest);
  Tally tally_;
};

// Seals and saves until it is told to stop: a caller's seal beside the background's.
class Saver {
 public:
  Saver(LiveIndex& index, std::filesystem::path folder)
      : thread_([this, &index, path = std::move(folder) / "churn.halo"](std::stop_token stop) {
          const Executor executor(2);
          while (!stop.stop_requested()) {
            if (const auto snapshot = index.seal(executor)) {
              Engine(snapshot).save(path);
              ++saves_;
            }
            // A pause that a stop ends: the background has its turn.
            std::mutex mutex;
            std::unique_lock lock(mutex);
            std::condition_variable_any().wait_for(lock, stop, std::chrono::milliseconds(200),
                                                   [] { return false; });
          }
        }) {}
  std::uint64_t saves() const { return saves_; }

 private:
  std::atomic<std::uint64_t> saves_{0};
  std::jthread thread_;
};

// Waits until the background has freed what it could: nothing else allocates meanwhile.
void wait_for_quiet() {
  std::size_t before = bytes_in_use();
  for (int same = 0, tries = 0; same < 5 && tries < 100; ++tries) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    const std::size_t now = bytes_in_use();
    same = now == before ? same + 1 : 0;
    before = now;
  }
}

Matrix some_queries(const ChurnOptions& options, std::size_t count) {
  Matrix queries = Matrix::padded(count, options.dim);
  for (std::size_t q = 0; q < count; ++q) {
    fill_vector(options, (std::uint64_t{1} << 60U) + q, queries.row(q));
  }
  return queries;
}

using Truth = std::vector<std::set<Id>>;

Truth nearest_ids(const LiveView& view, const MatrixView& queries) {
  Truth truth;
  LiveScratch scratch;
  std::vector<LiveNeighbour> out(kNearest);
  for (std::size_t q = 0; q < queries.rows; ++q) {
    const std::size_t found = view.exact_search(queries.row_span(q), {}, scratch, out);
    auto& ids = truth.emplace_back();
    for (std::size_t i = 0; i < found; ++i) ids.insert(out[i].id);
  }
  return truth;
}

template <class Search>
double recall_of(const Truth& truth, Search&& search) {
  std::size_t hits = 0, all = 0;
  for (std::size_t q = 0; q < truth.size(); ++q) {
    for (const Id id : search(q)) hits += truth[q].count(id);
    all += truth[q].size();
  }
  return static_cast<double>(hits) / static_cast<double>(all);
}

double recall_of(const Truth& truth, const LiveView& view, const MatrixView& queries) {
  LiveScratch scratch;
  std::vector<LiveNeighbour> out(kNearest);
  return recall_of(truth, [&](std::size_t q) {
    std::vector<Id> ids;
    const std::size_t found = view.search(queries.row_span(q), {}, scratch, out);
    for (std::size_t i = 0; i < found; ++i) ids.push_back(out[i].id);
    return ids;
  });
}

double recall_of(const Truth& truth, const GraphSnapshot& snapshot, const MatrixView& queries) {
  SearchScratch scratch;
  std::vector<Neighbour> out(kNearest);
  return recall_of(truth, [&](std::size_t q) {
    std::vector<Id> ids;
    const std::size_t found = search(snapshot, queries.row_span(q), {}, scratch, out);
    for (std::size_t i = 0; i < found; ++i) ids.push_back(snapshot.id(out[i].node));
    return ids;
  });
}

// An index built anew from what the threads say lives.
std::shared_ptr<const GraphSnapshot> rebuilt(const ChurnOptions& options,
                                             const std::vector<std::unique_ptr<Churner>>& churners,
                                             const Executor& executor) {
  std::vector<std::pair<Id, std::uint64_t>> all;
  for (const auto& churner : churners) {
    all.insert(all.end(), churner->live().begin(), churner->live().end());
  }
  std::sort(all.begin(), all.end());
  Matrix vectors = Matrix::padded(all.size(), options.dim);
  std::vector<Id> ids;
  for (const auto& [id, number] : all) {
    fill_vector(options, number, vectors.row(ids.size()));
    ids.push_back(id);
  }
  VectorIndex index(options.dim, live_options(options).build);
  index.add(vectors, ids, executor);
  return index.seal(executor);
}

void judge(const ChurnOptions& options, LiveIndex& index,
           const std::vector<std::unique_ptr<Churner>>& churners, ChurnReport& report) {
  const Executor executor(2);
  const Matrix queries = some_queries(options, 500);
  const Truth truth = nearest_ids(index.view(), queries);
  report.recall_unsealed = recall_of(truth, index.view(), queries);
  const auto sealed = index.seal(executor);
  report.recall_sealed = recall_of(truth, *sealed, queries);
  report.recall_rebuilt = recall_of(truth, *rebuilt(options, churners, executor), queries);
  report.unreachable = sealed->unreachable_count();
  report.failed_seals = index.stats().failed_seals;

  std::size_t lives = 0;
  SearchScratch scratch;
  std::vector<Neighbour> out(1);
  Matrix vector(1, options.dim);
  for (const auto& churner : churners) {
    lives += churner->live().size();
    for (const auto& [id, number] : churner->live()) {
      fill_vector(options, number, vector.row(0));
      const std::size_t found = search(*sealed, vector.row_span(0), {1, 64, {}}, scratch, out);
      if (found == 0 || sealed->id(out[0].node) != id) ++report.live_missed;
      if (!sealed->find(id)) ++report.wrong;
    }
    const Tally& tally = churner->tally();
    report.wrong += tally.wrong;
    if (report.first_wrong.empty()) report.first_wrong = tally.first_wrong;
    report.own_searches += tally.own;
    report.own_missed += tally.missed;
    report.longest_write_ms = std::max(report.longest_write_ms, 1e3 * tally.longest_write);
  }
  if (sealed->size() != lives) ++report.wrong;
}

}  // namespace

double ChurnReport::memory_drift() const {
  if (checkpoints.empty()) return 1;
  double drift = 0;
  const auto first = static_cast<double>(checkpoints.front().in_use);
  for (const Checkpoint& checkpoint : checkpoints) {
    drift = std::max(drift, static_cast<double>(checkpoint.in_use) / first - 1);
  }
  return drift;
}

ChurnReport churn(const ChurnOptions& options,
                  const std::function<void(const Checkpoint&)>& on_checkpoint) {
  ChurnReport report;
  LiveIndex index(options.dim, live_options(options));
  std::vector<std::unique_ptr<Churner>> churners;
  for (std::size_t t = 0; t < options.threads; ++t) {
    churners.push_back(std::make_unique<Churner>(options, index, t));
    churners.back()->settle();
  }
  index.seal(Executor(2));
  const auto start = Clock::now();
  std::uint64_t saves = 0;
  for (std::size_t number = 0; number < options.checkpoints; ++number) {
    const auto begun = Clock::now();
    {
      const Saver saver(index, options.folder);
      std::vector<std::jthread> threads;
      for (const auto& churner : churners) {
        threads.emplace_back([&, churner = churner.get()] {
          for (std::size_t i = 0; i < options.operations || Clock::now() - begun < options.interval;
               ++i) {
            churner->step();
          }
          churner->settle();
        });
      }
      threads.clear();
      saves += saver.saves();
    }
    if (number + 1 == options.checkpoints) {
      // What waits in the delta is judged too.
      judge(options, index, churners, report);
    } else {
      index.seal(Executor(2));
    }
    wait_for_quiet();
    Checkpoint checkpoint;
    checkpoint.seconds = seconds_since(start);
    for (const auto& churner : churners) {
      checkpoint.adds += churner->tally().adds;
      checkpoint.updates += churner->tally().updates;
      checkpoint.removes += churner->tally().removes;
      checkpoint.searches += churner->tally().searches;
    }
    checkpoint.seals = index.stats().seals;
    checkpoint.saves = saves;
    checkpoint.in_use = bytes_in_use();
    checkpoint.resident = bytes_resident();
    const auto replaced = static_cast<double>(checkpoint.adds + checkpoint.updates - options.live);
    if (replaced >= options.turnovers * static_cast<double>(options.live)) {
      report.checkpoints.push_back(checkpoint);
    }
    if (on_checkpoint) on_checkpoint(checkpoint);
  }
  return report;
}

}  // namespace halo::test
