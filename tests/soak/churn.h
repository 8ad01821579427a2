// Churn: threads that add, remove, update and search one live index without a pause, while it seals
// in the background and is saved. Each thread owns the ids that are its number modulo the threads,
// so it knows at every moment what must be found and what must not.
//
// At checkpoints all threads stop with exactly `live` vectors in the index, which is then sealed:
// what memory is in use must not grow from one to the next.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "halo/index/metric.h"

namespace halo::test {

struct ChurnOptions {
  Metric metric = Metric::kL2;
  std::size_t dim = 32, clusters = 200, threads = 8;
  std::size_t live = 20000;  ///< vectors at every checkpoint, a multiple of `threads`
  /// A checkpoint ends when every thread did this many operations ...
  std::size_t operations = 2000;
  /// ... and this long has passed since the one before.
  std::chrono::milliseconds interval{0};
  std::size_t checkpoints = 4;
  /// How often all vectors are replaced before a checkpoint is compared with others: a churned
  /// graph has a quarter more links than a new one, and gets them while its vectors are replaced
  /// once.
  double turnovers = 2;
  std::uint64_t seed = 1;
  std::filesystem::path folder;  ///< where the index is saved, again and again
};

struct Checkpoint {
  double seconds = 0;
  std::uint64_t adds = 0, updates = 0, removes = 0, searches = 0, seals = 0, saves = 0;
  std::size_t in_use = 0;    ///< bytes that the allocator has given out
  std::size_t resident = 0;  ///< bytes of the process, after free pages were given back
};

struct ChurnReport {
  std::vector<Checkpoint> checkpoints;  ///< the steady ones, after the turnovers
  std::uint64_t wrong = 0;              ///< answers that cannot be: see `first_wrong`
  std::string first_wrong;
  std::uint64_t own_searches = 0;  ///< searches for a vector that its thread has in the index
  std::uint64_t own_missed = 0;    ///< of these, it was not the first result
  std::size_t unreachable = 0;     ///< of the sealed graph, at the end
  std::size_t live_missed = 0;     ///< live vectors that a search for themselves did not find
  std::uint64_t failed_seals = 0;
  double longest_write_ms = 0;  ///< of single adds, updates and removes
  double recall_unsealed = 0, recall_sealed = 0, recall_rebuilt = 0;  ///< @10, ef 64
  /// The most by which the bytes in use at a steady checkpoint exceed those at the first of them.
  double memory_drift() const;
};

ChurnReport churn(const ChurnOptions& options,
                  const std::function<void(const Checkpoint&)>& on_checkpoint = {});

}  // namespace halo::test
