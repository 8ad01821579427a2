// An index with everything that answers queries from it: build, refine, search, save and load in
// one place.
//
// An Engine is an immutable value: refining or loading gives another Engine, so a service publishes
// a new one by swapping a pointer while searches go on in the old one.
//
// Thread-safety: const members may be called from any number of threads; the executor passed in
// decides the parallelism.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "halo/core/deadline.h"
#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/matrix_view.h"
#include "halo/core/progress.h"
#include "halo/index/graph_snapshot.h"
#include "halo/index/snapshot_search.h"
#include "halo/index/vector_index.h"

namespace halo {

namespace gnn {
struct Fusion;
class RefinementModel;
class TrainedModel;
struct RefineOptions;
}  // namespace gnn

enum class RefineMode {
  kOff,      ///< plain snapshot search: ids, order and distances are exactly search()'s
  kAuto,     ///< candidates, and what the graph leads to from them, ordered by the label-free model
             ///< that Engine::refined() prepared
  kTrained,  ///< candidates found and ordered by what train() learned: a model of its own, or
             ///< weights for the terms of the label-free one
};

class SearchObserver;

struct QueryOptions {
  /// Results wanted, 1 to the number of vectors; with refinement, at most `candidates`.
  std::size_t k = 10;
  /// Candidates kept while walking the graph; max(ef, k, candidates when refining) is used.
  std::size_t ef = 64;
  RefineMode refine = RefineMode::kOff;
  /// How many of the nearest vectors refinement starts from (as many as there are, where the index
  /// has fewer); the graph may add half as many again. Raising it costs time, about linearly; it
  /// should be at least 4 x the relevant vectors a query is expected to have.
  std::size_t candidates = 400;
  Filter filter = {};
  /// Looked at before each query's search and before its refinement: what has not begun by then is
  /// left out and marked in BatchResults::answers. Nothing is thrown.
  Deadline deadline = {};
  /// Fill BatchResults::plain_*, distances and plain_ranks. Costs little: what refinement found
  /// beyond the candidates gets its distance computed.
  bool explain = false;
  /// Told of this search when it ends; null: nobody is.
  SearchObserver* observer = nullptr;
};

/// What became of a query.
enum class Answer : std::uint8_t {
  kWhole,  ///< all that was asked for
  kPlain,  ///< searched, but the deadline passed before it could be refined: the plain order,
           ///< scored by -distance
  kNone,   ///< the deadline passed before it could be searched: no results
};

/// Results of a batch: row i of `ids` and `scores` belongs to query i, best first.
struct BatchResults {
  std::size_t k = 0;
  std::vector<Id> ids;        ///< queries x k; -1 where fewer were found
  std::vector<float> scores;  ///< queries x k; distances (smaller is nearer) for kOff, fused scores
                              ///< (larger is better) when refining; 0 where fewer were found
  std::vector<std::size_t> found;       ///< one a query
  std::vector<Answer> answers;          ///< one a query
  bool partial = false;                 ///< some answer is not whole
  std::vector<double> latency_seconds;  ///< one a query: its own work on its own thread

  /// With QueryOptions::explain: what plain search would have answered, queries x k.
  std::vector<Id> plain_ids;
  std::vector<float> plain_distances;
  /// With explain: of each result, queries x k, its distance, and its place in the plain order of
  /// the candidates, 1 the nearest; 0 where the graph led to it and it was no candidate.
  std::vector<float> distances;
  std::vector<std::uint32_t> plain_ranks;
  double gate = 0;  ///< share of refinement the harm gate let through (see gnn/harm_gate.h)
  double search_seconds = 0;  ///< graph search, summed over the queries
  double refine_seconds = 0;  ///< refinement, summed over the queries
  double wall_seconds = 0;    ///< the whole batch
};

/// Told of every search that was given it: for metrics. Called on the searching thread, at the end.
class SearchObserver {
 public:
  virtual ~SearchObserver() = default;
  virtual void searched(const QueryOptions& options, const BatchResults& results) noexcept = 0;
  virtual void failed(const QueryOptions& options, ErrorCode code) noexcept = 0;
};

class Engine {
 public:
  explicit Engine(std::shared_ptr<const GraphSnapshot> snapshot,
                  std::shared_ptr<const gnn::RefinementModel> model = nullptr,
                  std::shared_ptr<const gnn::TrainedModel> trained = nullptr);

  /// VectorIndex::add and seal in one call. `ids` may be empty: row numbers then.
  static Engine build(const MatrixView& vectors, std::span<const Id> ids,
                      const BuildOptions& options, const Executor& executor, const Job& job = {});

  /// The same index with a freshly prepared label-free refinement model. Batches of at least 50
  /// queries measure the harm gate on themselves; smaller ones use the gate measured on
  /// `sample_queries` (at least 50), and without those stay close to the plain order. Throws
  /// kMemoryLimit (RefineOptions::memory_limit), kOutOfMemory and kCancelled.
  Engine refined(const gnn::RefineOptions& options, const Executor& executor, const Job& job = {},
                 const MatrixView& sample_queries = {}) const;

  /// This engine's refinement carried to `changed`, the index after additions and removals (known
  /// by their ids). Vectors that came or changed are judged by their raw vectors, and their
  /// neighbourhood serves with what it had, until recomputed(). A trained model does not follow.
  /// Throws kModelMismatch for an index of another dimension or metric. See
  /// integration/refine_update.h.
  Engine with_snapshot(std::shared_ptr<const GraphSnapshot> changed, const Executor& executor,
                       const Job& job = {}) const;
  /// The same index with the neighbourhood of what changed computed again, by the heads there are;
  /// refined() chooses them anew and computes everything. Throws kNotPrepared without a model.
  Engine recomputed(const Executor& executor, const Job& job = {}) const;

  /// The same index with this trained model (train.h), or without one. Throws kModelMismatch for a
  /// model of another index.
  Engine with_trained(std::shared_ptr<const gnn::TrainedModel> trained) const;
  /// The same index with these weights for the terms of its label-free model (gnn/fusion.h), and
  /// no trained model; or, with null, without. They follow the index and its model from then on, as
  /// long as that has the same heads. Throws kModelMismatch where the heads are others,
  /// kNotPrepared without a label-free model.
  Engine with_fusion(std::shared_ptr<const gnn::Fusion> fusion) const;

  /// Atomic: afterwards `path` holds the whole new index, or on any error exactly what it held
  /// before. Throws kNoSpace, kIo, kNotFound (no such folder) or kCancelled.
  void save(const std::filesystem::path& path, const Job& job = {}) const;
  /// Checks every checksum and invariant; throws kNotFound, kIo, kUnsupportedFormat, kCorrupt,
  /// kModelMismatch (a model of another index in the file) or kOutOfMemory.
  static Engine load(const std::filesystem::path& path);

  /// Answers queries [q, dim]. Throws kDimensionMismatch, kNonFinite, kZeroVector,
  /// kInvalidArgument, kCancelled (job.stop, looked at before each query), and kNotPrepared when
  /// refinement is asked of an index without a model.
  BatchResults search(const MatrixView& queries, const QueryOptions& options,
                      const Executor& executor, const Job& job = {}) const;

  const std::shared_ptr<const GraphSnapshot>& snapshot() const { return snapshot_; }
  /// Null until the index was refined.
  const std::shared_ptr<const gnn::RefinementModel>& model() const { return model_; }
  /// Null until a model was trained for the index.
  const std::shared_ptr<const gnn::TrainedModel>& trained() const { return trained_; }
  /// Null until weights were learned for it. At most one of this and trained() is there.
  const std::shared_ptr<const gnn::Fusion>& fusion() const { return fusion_; }
  /// True where RefineMode::kTrained can be asked for.
  bool answers_trained() const { return trained_ || fusion_; }

 private:
  void follow(const std::shared_ptr<const gnn::Fusion>& fusion);
  class Workers;  // the scratch memory of finished searches, for the next ones
  BatchResults answer(const MatrixView& queries, const QueryOptions& options,
                      const Executor& executor, const Job& job) const;

  std::shared_ptr<Workers> workers_;
  std::shared_ptr<const GraphSnapshot> snapshot_;
  std::shared_ptr<const gnn::RefinementModel> model_;
  std::shared_ptr<const gnn::TrainedModel> trained_;
  std::shared_ptr<const gnn::Fusion> fusion_;
};

}  // namespace halo
