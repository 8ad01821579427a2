// Small indexes for the index room's tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <memory>
#include <numeric>
#include <span>
#include <type_traits>
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

/// first, first + 1, ...
inline std::vector<Id> ids_from(Id first, std::size_t count) {
  std::vector<Id> ids(count);
  std::iota(ids.begin(), ids.end(), first);
  return ids;
}

/// The metric's formula in double.
inline double plain_distance(Metric metric, std::span<const float> a, std::span<const float> b) {
  double l2 = 0, dot = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double x = a[i], y = b[i];
    l2 += (x - y) * (x - y);
    dot += x * y;
    aa += x * x;
    bb += y * y;
  }
  if (metric == Metric::kL2) return l2;
  if (metric == Metric::kInnerProduct) return 1 - dot;
  return 1 - dot / std::sqrt(aa * bb);
}

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

/// FNV-1a over whatever it is fed: equal states have equal hashes.
class StateHash {
 public:
  void bytes(const void* data, std::size_t count) {
    const auto* at = static_cast<const unsigned char*>(data);
    for (std::size_t i = 0; i < count; ++i) hash_ = (hash_ ^ at[i]) * 0x100000001b3ULL;
  }
  template <class T>
  requires std::is_trivially_copyable_v<T>
  void add(const T& value) { bytes(&value, sizeof(value)); }
  template <class T>
  void add(const std::vector<T>& values) {
    add(values.size());
    bytes(values.data(), values.size() * sizeof(T));
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
};

/// Of everything a snapshot holds: ids, levels, links, vectors, codes.
inline std::uint64_t state_hash(const GraphSnapshot& snapshot) {
  const SnapshotParts& parts = snapshot.parts();
  StateHash hash;
  for (const std::size_t n : {parts.dim, parts.M, parts.ef_construction, parts.ids.size()}) {
    hash.add(n);
  }
  hash.add(parts.metric);
  hash.add(parts.seed);
  hash.add(parts.ids);
  hash.add(parts.levels);
  for (const LayerLinks& layer : parts.layers) {
    hash.add(layer.nodes);
    hash.add(layer.row_offsets);
    hash.add(layer.neighbours);
  }
  hash.add(parts.entry_point);
  if (snapshot.has_vectors()) {
    for (Node node = 0; node < snapshot.size(); ++node) {
      hash.bytes(parts.vectors.row(node), parts.dim * sizeof(float));
    }
  }
  hash.add(snapshot.codes().kind());
  hash.bytes(snapshot.codes().data(), snapshot.codes().bytes());
  return hash.value();
}

inline std::uint64_t state_hash(const VectorIndex& index) {
  StateHash hash;
  hash.add(index.size());
  if (index.size() != 0) hash.add(state_hash(*index.seal(Executor(1))));
  return hash.value();
}

}  // namespace halo::test
