// Building and searching beside hnswlib and faiss with the same M, ef_construction and threads, in
// the same run.
//
//   bench_index [--data DIR]... [--only-data] [--metric l2|cosine|ip] [--cache DIR]
//               [Google Benchmark's options]
//
// --data adds a folder of base.npy, queries.npy and ground_truth.npy to Fashion-MNIST, which
// --only-data leaves out. The metric is the one that the ground truth was made with, or --metric's;
// a ground truth that is not there is computed. --cache
// keeps what was built in a folder, so that a run with --benchmark_filter=search/ only searches.
// Everything runs three times, interleaved, and the summary at the end takes medians; it reads QPS
// at fixed recalls off the curves. --benchmark_out=FILE writes what scripts/recall_curves.py draws.
//
//   build/<library>/<data set>/threads:<t>           recall_at_ef_80, bytes_per_vector, seconds
//   search/<library>/<data set>/ef:<ef>/threads:<t>  recall, qps; a call a query (faiss: one for
//   all) batch/halo_auto/<data set>/ef:64/threads:<t>     the same queries in one call
//
// On one thread qps and seconds are by the process's CPU time, so that what else runs on the
// machine counts less; on more threads by wall time.
#include <benchmark/benchmark.h>
#include <malloc.h>
#include <time.h>  // NOLINT(modernize-deprecated-headers): clock_gettime

#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <thread>

#include "curves.h"
#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/index/neighbour_windows.h"
#include "halo/index/vector_index.h"
#include "search_library.h"
#include "support/data_sets.h"

namespace halo::bench {
namespace {

constexpr std::size_t kQueries = 2000;
constexpr std::size_t kEfs[] = {10, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 400, 600, 800};

struct Settings {
  std::vector<std::filesystem::path> folders;
  std::filesystem::path cache;
  std::optional<Metric> metric;
  bool only_folders = false;
};
Settings& settings() {
  static Settings instance;
  return instance;
}

std::size_t all_threads() { return std::max(1U, std::thread::hardware_concurrency()); }

std::size_t heap_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return info.uordblks + info.hblkhd;
}

// One library's index over one data set, built or read when first asked for.
class Entry {
 public:
  Entry(std::string library, const DataSet& data) : library_(std::move(library)), data_(data) {}

  void build(std::size_t threads) {
    index_.reset();
    const std::size_t before = heap_bytes();
    index_ = make_library(library_);
    index_->build(data_, threads);
    bytes_ = heap_bytes() - before;
    if (!settings().cache.empty()) index_->save(file());
  }
  SearchLibrary& get() {
    if (!index_ && !settings().cache.empty() && std::filesystem::exists(file())) {
      index_ = make_library(library_);
      index_->load(data_, file());
    }
    if (!index_) build(all_threads());
    return *index_;
  }
  const DataSet& data() const { return data_; }
  double recall(std::size_t ef) {
    return recall_of(get().search(data_.queries, ef, all_threads()));
  }
  double recall_of(const std::vector<std::int64_t>& rows) const {
    std::size_t hits = 0;
    for (std::size_t q = 0; q < data_.queries.rows(); ++q) {
      const auto found = rows.begin() + static_cast<std::ptrdiff_t>(q * kNeighbours);
      const auto truth = data_.truth.begin() + static_cast<std::ptrdiff_t>(q * data_.truth_width);
      for (std::size_t i = 0; i < kNeighbours; ++i) {
        hits += static_cast<std::size_t>(
            std::count(truth, truth + kNeighbours, found[static_cast<std::ptrdiff_t>(i)]));
      }
    }
    return static_cast<double>(hits) / static_cast<double>(data_.queries.rows() * kNeighbours);
  }
  double bytes_per_vector() const {
    return static_cast<double>(bytes_) / static_cast<double>(data_.vectors.rows());
  }

 private:
  std::filesystem::path file() const {
    return settings().cache / (library_ + "." + data_.name + ".index");
  }
  std::string library_;
  const DataSet& data_;
  std::unique_ptr<SearchLibrary> index_;
  std::size_t bytes_ = 0;
};

// On one thread CPU time of the process, else wall time.
class StopWatch {
 public:
  explicit StopWatch(std::size_t threads)
      : clock_(threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC), start_(now()) {}
  double seconds() const { return now() - start_; }

 private:
  double now() const {
    timespec time{};
    clock_gettime(clock_, &time);
    return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
  }
  clockid_t clock_;
  double start_;
};

void bm_build(benchmark::State& state, Entry& entry, std::size_t threads) {
  double seconds = 0;
  for (auto _ : state) {
    const StopWatch watch(threads);
    entry.build(threads);
    seconds = watch.seconds();
  }
  state.counters["seconds"] = seconds;
  const auto vectors = static_cast<double>(entry.data().vectors.rows());
  state.counters["recall_at_ef_80"] = entry.recall(80);
  state.counters["bytes_per_vector"] = entry.bytes_per_vector();
  state.counters["bytes_per_vector_without_exact_copy"] =
      entry.bytes_per_vector() - static_cast<double>(entry.get().exact_copy_bytes()) / vectors;
}

void bm_search(benchmark::State& state, Entry& entry, std::size_t ef, std::size_t threads,
               bool together) {
  SearchLibrary& index = entry.get();
  const MatrixView queries = entry.data().queries;
  std::vector<std::int64_t> rows;
  const StopWatch watch(threads);
  for (auto _ : state) {
    rows =
        together ? index.search_together(queries, ef, threads) : index.search(queries, ef, threads);
  }
  const double seconds = watch.seconds();
  state.counters["recall"] = entry.recall_of(rows);
  state.counters["qps"] = static_cast<double>(entry.data().queries.rows()) *
                          static_cast<double>(state.iterations()) / seconds;
}

void bm_windows(benchmark::State& state, const DataSet& data, std::size_t threads) {
  static std::map<std::string, std::shared_ptr<const GraphSnapshot>> snapshots;
  const Executor executor(threads);
  auto& snapshot = snapshots[data.name];
  if (!snapshot) {
    VectorIndex index(data.vectors.cols(), {.metric = data.metric});
    index.add(data.vectors, executor);
    snapshot = index.seal(executor);
  }
  double entries = 0;
  for (auto _ : state) {
    entries = static_cast<double>(neighbour_windows(*snapshot, 32, executor).entries());
  }
  state.counters["average_window"] = entries / static_cast<double>(snapshot->size());
}

// "search/hnswlib/glove100/ef:64/threads:1", whatever follows.
struct SearchName {
  std::string library, set, threads;
  std::size_t ef = 0;
};
std::optional<SearchName> parse(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  if (parts.size() < 5 || parts[0] != "search" || parts[3].rfind("ef:", 0) != 0) return {};
  return SearchName{parts[1], parts[2], parts[4], std::stoul(parts[3].substr(3))};
}

// A report of Google Benchmark's, kept for the summary.
template <class Base>
class Reporter : public Base {
 public:
  using typename Base::Run;
  template <class... Options>
  explicit Reporter(std::ostream& summary, Options... options)
      : Base(options...), summary_(summary) {}
  void ReportRuns(const std::vector<Run>& runs) override {
    Base::ReportRuns(runs);
    for (const Run& run : runs) {
      const auto name = parse(run.run_name.function_name);
      if (!name || run.error_occurred || run.run_type != Run::RT_Iteration) {
        continue;
      }
      runs_[name->set + "/" + name->threads][name->library][name->ef].push_back(
          {run.counters.at("recall").value, run.counters.at("qps").value});
    }
  }
  void Finalize() override {
    Base::Finalize();
    std::map<std::string, std::map<std::string, Curve>> sets;
    for (auto& [set, libraries] : runs_) {
      for (auto& [library, efs] : libraries) {
        for (auto& [ef, points] : efs) {
          std::sort(points.begin(), points.end(),
                    [](const CurvePoint& a, const CurvePoint& b) { return a.qps < b.qps; });
          sets[set][library][ef] = points[points.size() / 2];
        }
      }
    }
    print_summary(sets, summary_);
  }

 private:
  std::ostream& summary_;
  std::map<std::string, std::map<std::string, std::map<std::size_t, std::vector<CurvePoint>>>>
      runs_;
};

void register_set(const DataSet& data, std::map<std::string, Entry>& entries) {
  const std::set<std::size_t> thread_counts{1, all_threads()};
  // Plain names: no iterations, repetitions or clocks among Google Benchmark's own settings.
  const auto long_one = [](benchmark::internal::Benchmark* b) { b->Unit(benchmark::kSecond); };
  for (const std::string& library : library_names()) {
    Entry& entry = entries.try_emplace(library + "/" + data.name, library, data).first->second;
    const std::string name = library + "/" + data.name;
    for (const std::size_t t : thread_counts) {
      const std::string threads = "/threads:" + std::to_string(t);
      long_one(benchmark::RegisterBenchmark(
          ("build/" + name + threads).c_str(),
          [&entry, t](benchmark::State& state) { bm_build(state, entry, t); }));
    }
  }
  for (const std::size_t t : thread_counts) {
    const std::string threads = "/threads:" + std::to_string(t);
    long_one(benchmark::RegisterBenchmark(
        ("windows/halo/" + data.name + "/window:32" + threads).c_str(),
        [&data, t](benchmark::State& state) { bm_windows(state, data, t); }));
    for (const std::size_t ef : kEfs) {
      for (const std::string& library : library_names()) {
        Entry& entry = entries.at(library + "/" + data.name);
        benchmark::RegisterBenchmark(
            ("search/" + library + "/" + data.name + "/ef:" + std::to_string(ef) + threads).c_str(),
            [&entry, ef, t](benchmark::State& state) { bm_search(state, entry, ef, t, false); })
            ->Unit(benchmark::kMillisecond);
      }
    }
    Entry& halo = entries.at("halo_auto/" + data.name);
    benchmark::RegisterBenchmark(
        ("batch/halo_auto/" + data.name + "/ef:64" + threads).c_str(),
        [&halo, t](benchmark::State& state) { bm_search(state, halo, 64, t, true); })
        ->Unit(benchmark::kMillisecond);
  }
}

// Takes --data and --cache out of the arguments, and puts repetitions in.
std::vector<char*> take_settings(int argc, char** argv) {
  static char repetitions[] = "--benchmark_repetitions=3";
  static char interleaved[] = "--benchmark_enable_random_interleaving=true";
  std::vector<char*> rest{argv[0], repetitions, interleaved};
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    if ((option == "--data" || option == "--cache") && i + 1 < argc) {
      ++i;
      if (option == "--data") settings().folders.emplace_back(argv[i]);
      if (option == "--cache") settings().cache = argv[i];
    } else if (option == "--metric" && i + 1 < argc) {
      const std::string_view name = argv[++i];
      for (const Metric metric : {Metric::kL2, Metric::kCosine, Metric::kInnerProduct}) {
        if (name == metric_name(metric)) settings().metric = metric;
      }
      if (!settings().metric) throw Error(ErrorCode::kInvalidArgument, "--metric l2|cosine|ip");
    } else if (option == "--only-data") {
      settings().only_folders = true;
    } else {
      rest.push_back(argv[i]);
    }
  }
  return rest;
}

int run(int argc, char** argv) {
  std::vector<char*> arguments = take_settings(argc, argv);
  const bool as_json = std::any_of(arguments.begin(), arguments.end(), [](const char* argument) {
    return std::string_view(argument) == "--benchmark_format=json";
  });
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  if (!settings().cache.empty()) std::filesystem::create_directories(settings().cache);
  std::vector<DataSet> sets;
  sets.reserve(settings().folders.size() + 1);
  if (!settings().only_folders) {
    sets.push_back(load_default_set(kQueries, kNeighbours, settings().cache, Executor(0)));
  }
  for (const auto& folder : settings().folders) {
    sets.push_back(load_folder(folder, settings().metric));
  }
  std::map<std::string, Entry> entries;
  for (const DataSet& set : sets) register_set(set, entries);
  if (as_json) {
    Reporter<benchmark::JSONReporter> reporter(std::cerr);
    benchmark::RunSpecifiedBenchmarks(&reporter);
  } else {
    Reporter<benchmark::ConsoleReporter> reporter(std::cout,
                                                  benchmark::ConsoleReporter::OO_Tabular);
    benchmark::RunSpecifiedBenchmarks(&reporter);
  }
  return 0;
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  try {
    return halo::bench::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "bench_index: " << error.what() << '\n';
    return 1;
  }
}
