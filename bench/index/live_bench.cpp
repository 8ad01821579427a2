// Latency of searches in a live index while it changes, beside the same searches while nothing
// happens.
//
//   bench_live [--data DIR] [--vectors N] [--rate ADDS_PER_SECOND] [--seconds S] [--ef EF]
//              [--threads T]
//
// T threads search, one query at a time; where a rate is given, one more thread adds vectors (a
// tenth of them are removed again, a tenth updated) and searches for each at once: it must be
// there.
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/executor.h"
#include "halo/index/live_index.h"
#include "support/data_sets.h"

namespace halo::bench {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kNeighbours = 10;

struct Settings {
  std::size_t vectors = 40000, rate = 2000, seconds = 10, ef = 64, threads = 1;
  std::string data;  // a folder with base.npy, queries.npy and ground_truth.npy
};

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Latencies {
  std::vector<double> seconds;
  double at(double share) {
    if (seconds.empty()) return 0;
    const auto place = static_cast<std::ptrdiff_t>(share * static_cast<double>(seconds.size() - 1));
    std::nth_element(seconds.begin(), seconds.begin() + place, seconds.end());
    return seconds[static_cast<std::size_t>(place)];
  }
};

// Searches one query after another until `done`.
Latencies search_until(const LiveIndex& index, const Matrix& queries, const Settings& settings,
                       std::size_t first, const std::atomic<bool>& done) {
  LiveSearchOptions options;
  options.k = kNeighbours;
  options.ef = settings.ef;
  LiveScratch scratch;
  std::vector<LiveNeighbour> out(kNeighbours);
  Latencies latencies;
  latencies.seconds.reserve(std::size_t{1} << 22U);
  for (std::size_t q = first; !done; q = (q + 1) % queries.rows()) {
    const auto start = Clock::now();
    index.search(queries.row_span(q), options, scratch, out);
    latencies.seconds.push_back(seconds_since(start));
  }
  return latencies;
}

struct Writes {
  std::size_t added = 0, unseen = 0;
  double worst_add = 0;
};

// Adds one vector every 1 / rate seconds; removes every tenth and updates another.
Writes write_until(LiveIndex& index, const MatrixView& vectors, Id first, const Settings& settings,
                   const std::atomic<bool>& done) {
  Writes writes;
  const auto start = Clock::now();
  for (std::size_t i = 0; !done && i < vectors.rows; ++i) {
    std::this_thread::sleep_until(
        start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                    static_cast<double>(i) / static_cast<double>(settings.rate))));
    const std::vector<Id> id{first + static_cast<Id>(i)};
    const auto began = Clock::now();
    index.add(vectors.sub_rows(i, 1), id);
    writes.worst_add = std::max(writes.worst_add, seconds_since(began));
    ++writes.added;
    if (!index.contains(id[0])) ++writes.unseen;
    if (i % 10 == 3) index.update(vectors.sub_rows(i, 1), id);
    if (i % 10 == 7) index.remove(id);
  }
  return writes;
}

// The share of the ten nearest of this moment that searches find.
double recall_now(const LiveIndex& index, const Matrix& queries, const Settings& settings) {
  const LiveView view = index.view();
  LiveSearchOptions options;
  options.k = kNeighbours;
  options.ef = settings.ef;
  LiveScratch scratch;
  std::vector<LiveNeighbour> found(kNeighbours), exact(kNeighbours);
  const std::size_t count = std::min<std::size_t>(queries.rows(), 500);
  std::size_t hits = 0;
  for (std::size_t q = 0; q < count; ++q) {
    view.search(queries.row_span(q), options, scratch, found);
    view.exact_search(queries.row_span(q), options, scratch, exact);
    for (const LiveNeighbour& neighbour : exact) {
      hits += std::any_of(found.begin(), found.end(),
                          [&](const LiveNeighbour& other) { return other.id == neighbour.id; })
                  ? 1
                  : 0;
    }
  }
  return static_cast<double>(hits) / static_cast<double>(count * kNeighbours);
}

Latencies measure(LiveIndex& index, const DataSet& data, const Settings& settings, bool write) {
  std::atomic<bool> done{false};
  std::vector<Latencies> latencies(settings.threads);
  std::vector<std::thread> readers;
  for (std::size_t t = 0; t < settings.threads; ++t) {
    readers.emplace_back([&, t] {
      latencies[t] = search_until(index, data.queries, settings,
                                  t * data.queries.rows() / settings.threads, done);
    });
  }
  Writes writes;
  std::thread writer;
  if (write) {
    writer = std::thread([&] {
      const std::size_t left = data.vectors.rows() - settings.vectors;
      writes = write_until(index, data.vectors.view().sub_rows(settings.vectors, left),
                           static_cast<Id>(settings.vectors), settings, done);
    });
  }
  std::this_thread::sleep_for(std::chrono::seconds(settings.seconds));
  done = true;
  for (auto& reader : readers) reader.join();
  if (write) writer.join();
  Latencies all;
  for (const auto& some : latencies) {
    all.seconds.insert(all.seconds.end(), some.seconds.begin(), some.seconds.end());
  }
  const auto stats = index.stats();
  std::printf("%-8s searches/s %8.0f  p50 %7.1f us  p99 %7.1f us  p99.9 %7.1f us",
              write ? "writing" : "idle",
              static_cast<double>(all.seconds.size()) / static_cast<double>(settings.seconds),
              1e6 * all.at(0.5), 1e6 * all.at(0.99), 1e6 * all.at(0.999));
  if (write) {
    std::printf("  adds/s %5.0f  unseen %zu  worst add %.1f ms  seals %llu  delta %zu",
                static_cast<double>(writes.added) / static_cast<double>(settings.seconds),
                writes.unseen, 1e3 * writes.worst_add, static_cast<unsigned long long>(stats.seals),
                stats.delta);
  }
  std::printf("  recall@10 %.4f\n", recall_now(index, data.queries, settings));
  std::fflush(stdout);
  return all;
}

int run(const Settings& wanted) {
  const Executor executor;
  const DataSet data = wanted.data.empty() ? load_default_set(2000, kNeighbours, "", executor)
                                           : load_folder(wanted.data);
  Settings settings = wanted;
  settings.vectors = std::min(settings.vectors, data.vectors.rows() / 2);
  BuildOptions build;
  build.metric = data.metric;
  std::vector<Id> ids(settings.vectors);
  std::iota(ids.begin(), ids.end(), 0);
  VectorIndex builder(data.vectors.cols(), build);
  builder.add(data.vectors.view().sub_rows(0, settings.vectors), ids, executor);
  LiveIndex index(builder.seal(executor), LiveOptions{});
  std::printf("%s: %zu vectors of %zu dimensions, ef %zu, %zu searching threads\n",
              data.name.c_str(), settings.vectors, data.vectors.cols(), settings.ef,
              settings.threads);
  Latencies idle = measure(index, data, settings, false);
  Latencies writing = measure(index, data, settings, true);
  std::printf("p99 while writing / idle: %.2f\n", writing.at(0.99) / idle.at(0.99));
  return 0;
}

}  // namespace
}  // namespace halo::bench

int main(int argc, char** argv) {
  halo::bench::Settings settings;
  const std::pair<const char*, std::size_t*> flags[] = {{"--vectors", &settings.vectors},
                                                        {"--rate", &settings.rate},
                                                        {"--seconds", &settings.seconds},
                                                        {"--ef", &settings.ef},
                                                        {"--threads", &settings.threads}};
  for (int i = 1; i < argc; i += 2) {
    if (std::strcmp(argv[i], "--data") == 0 && i + 1 < argc) {
      settings.data = argv[i + 1];
      continue;
    }
    const auto* flag = std::find_if(std::begin(flags), std::end(flags), [&](const auto& f) {
      return std::strcmp(argv[i], f.first) == 0;
    });
    if (flag == std::end(flags) || i + 1 == argc) {
      std::fprintf(stderr,
                   "usage: bench_live [--data DIR] [--vectors N] [--rate N] [--seconds N] [--ef N] "
                   "[--threads N]\n");
      return 2;
    }
    const char* end = argv[i + 1] + std::strlen(argv[i + 1]);
    const auto parsed = std::from_chars(argv[i + 1], end, *flag->second);
    if (parsed.ec != std::errc() || parsed.ptr != end || *flag->second == 0) {
      std::fprintf(stderr, "bench_live: %s: %s is no positive number\n", argv[i], argv[i + 1]);
      return 2;
    }
  }
  return halo::bench::run(settings);
}
