// The library's queries a second at batch 1, as a service asks: threads that each search for one
// query after the other. What scripts/serve_load compares the service with.
//
//   bench_batch_one INDEX.halo QUERIES [k] [ef] [threads] [seconds] [off|auto]
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include "halo/core/error.h"
#include "halo/integration/engine.h"
#include "halo/integration/io/vectors.h"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr,
                 "usage: bench_batch_one INDEX QUERIES [k] [ef] [threads] [seconds] [off|auto]\n");
    return 2;
  }
  const auto number = [&](int at, std::size_t otherwise) {
    return argc > at ? std::strtoul(argv[at], nullptr, 10) : otherwise;
  };
  try {
    const halo::Engine engine = halo::Engine::load(argv[1]);
    const halo::Matrix queries = halo::io::load_vectors(argv[2], halo::io::VectorRole::kQuery);
    halo::QueryOptions options;
    options.k = number(3, 10);
    options.ef = number(4, 64);
    const std::size_t threads = number(5, 2);
    const std::chrono::seconds time(number(6, 5));
    if (argc > 7 && std::string(argv[7]) == "auto") options.refine = halo::RefineMode::kAuto;
    std::atomic<std::size_t> done{0};
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (std::size_t t = 0; t < threads; ++t) {
      workers.emplace_back([&, t] {
        const halo::Executor alone(1);
        std::size_t mine = 0;
        for (std::size_t q = t; std::chrono::steady_clock::now() - start < time; q += threads) {
          engine.search(queries.view().sub_rows(q % queries.rows(), 1), options, alone);
          ++mine;
        }
        done += mine;
      });
    }
    for (std::thread& worker : workers) worker.join();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    std::printf("%.0f\n", static_cast<double>(done) / taken.count());
  } catch (const halo::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
