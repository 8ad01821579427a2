// The threads halo runs on. An Executor owns a TBB task arena and is passed in by whoever calls, so
// that an embedding service decides how many threads there are; halo has no hidden pool.
//
// Thread-safety: parallel_for may be called from several threads at once.
// Determinism: the chunks of a loop depend on n and grain only, never on the number of threads. A
// loop that writes only its own items, or reduces per chunk and then in chunk order, gives the same
// bytes at any thread count.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace halo {

class Executor {
 public:
  /// `threads` = 0 uses every core the process may run on; 1 runs everything on the calling thread.
  explicit Executor(std::size_t threads = 0);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  std::size_t threads() const;

  /// Calls body(begin, end) for consecutive chunks of `grain` items that cover [0, n), in parallel.
  /// Returns when all are done. The first exception thrown by a body is rethrown here; chunks not
  /// yet begun are then skipped.
  void parallel_for(std::size_t n, std::size_t grain,
                    const std::function<void(std::size_t, std::size_t)>& body) const;

  /// The same, with the number of the worker that runs the chunk, below threads(): an index into
  /// scratch space. A body must not start another parallel loop while it uses that scratch.
  void parallel_for_workers(std::size_t n, std::size_t grain,
                            const std::function<void(std::size_t worker, std::size_t begin,
                                                     std::size_t end)>& body) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace halo
