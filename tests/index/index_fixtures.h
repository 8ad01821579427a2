// Small indexes for the index room's tests.
#pragma once

#include <memory>
#include <vector>

#include "halo/core/executor.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"
#include "support/test_support.h"

namespace halo::test {

#if defined(__SANITIZE_THREAD__)
inline constexpr bool kThreadSanitizer = true;
#elif defined(__has_feature)
inline constexpr bool kThreadSanitizer = __has_feature(thread_sanitizer);
#else
inline constexpr bool kThreadSanitizer = false;
#endif

/// Rows of a test that builds in parallel: ThreadSanitizer follows every lock, which is slow.
inline constexpr std::size_t parallel_rows(std::size_t rows) {
  return kThreadSanitizer ? rows / 8 : rows;
}

inline constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};

inline BuildOptions build_options(Metric metric, bool deterministic = true) {
  BuildOptions options;
  options.metric = metric;
  options.M = 8;
  options.ef_construction = 60;
  options.deterministic = deterministic;
  return options;
}

inline std::shared_ptr<const GraphSnapshot> snapshot_of(const MatrixView& vectors,
                                                        const BuildOptions& options,
                                                        std::span<const Id> ids = {}) {
  const Executor executor(2);
  VectorIndex index(vectors.cols, options);
  index.add(vectors, ids, executor);
  return index.seal(executor);
}

inline std::shared_ptr<const GraphSnapshot> snapshot_of(const MatrixView& vectors,
                                                        Metric metric = Metric::kL2) {
  return snapshot_of(vectors, build_options(metric));
}

inline Matrix normalised(const MatrixView& vectors) {
  Matrix copy = Matrix::padded(vectors.rows, vectors.cols);
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    std::copy_n(vectors.row(i), vectors.cols, copy.row(i));
    kernels::normalise(copy.row(i), vectors.cols);
  }
  return copy;
}

/// A deep copy, for tests that break one thing in it.
inline SnapshotParts copy_parts(const GraphSnapshot& snapshot) {
  const SnapshotParts& from = snapshot.parts();
  SnapshotParts parts;
  parts.metric = from.metric;
  parts.dim = from.dim;
  parts.M = from.M;
  parts.ef_construction = from.ef_construction;
  parts.seed = from.seed;
  parts.vectors = Matrix::padded(from.vectors.rows(), from.vectors.cols());
  for (std::size_t i = 0; i < from.vectors.rows(); ++i) {
    std::copy_n(from.vectors.row(i), from.dim, parts.vectors.row(i));
  }
  parts.ids = from.ids;
  parts.levels = from.levels;
  parts.layers = from.layers;
  parts.entry_point = from.entry_point;
  return parts;
}

/// True where two snapshots hold the same bytes in every part.
inline bool same_parts(const GraphSnapshot& a, const GraphSnapshot& b) {
  const SnapshotParts &x = a.parts(), &y = b.parts();
  if (x.metric != y.metric || x.dim != y.dim || x.M != y.M || x.seed != y.seed ||
      x.ef_construction != y.ef_construction || x.ids != y.ids || x.levels != y.levels ||
      x.entry_point != y.entry_point || x.layers.size() != y.layers.size()) {
    return false;
  }
  for (std::size_t l = 0; l < x.layers.size(); ++l) {
    if (x.layers[l].nodes != y.layers[l].nodes ||
        x.layers[l].row_offsets != y.layers[l].row_offsets ||
        x.layers[l].neighbours != y.layers[l].neighbours) {
      return false;
    }
  }
  for (std::size_t i = 0; i < x.ids.size(); ++i) {
    if (!std::equal(x.vectors.row(i), x.vectors.row(i) + x.dim, y.vectors.row(i))) return false;
  }
  return true;
}

}  // namespace halo::test
