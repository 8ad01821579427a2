#include "halo/integration/engine.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <mutex>
#include <new>
#include <numeric>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/distance.h"
#include "halo/core/out_of_memory.h"
#include "halo/gnn/fusion.h"
#include "halo/gnn/harm_gate.h"
#include "halo/gnn/query_refinement.h"
#include "halo/gnn/refinement_model.h"
#include "halo/gnn/trained_model.h"
#include "halo/index/batch_order.h"
#include "halo/integration/index_identity.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/file.h"
#include "halo/integration/io/fusion_io.h"
#include "halo/integration/io/model_io.h"
#include "halo/integration/io/snapshot_io.h"
#include "halo/integration/io/trained_io.h"
#include "halo/integration/refine.h"
#include "halo/integration/refine_update.h"

namespace halo {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kQueriesAtOnce = 8;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// What one thread needs to answer queries.
struct Worker {
  SearchScratch search;
  gnn::QueryScratch refine;
  gnn::TrainedModel::Scratch trained;
  std::vector<Node> nodes;
  std::vector<float> distances;
  std::vector<gnn::ScoredNode> scored;
  std::vector<std::uint32_t> order;

  void split(std::span<const Neighbour> neighbours) {
    nodes.clear();
    distances.clear();
    for (const Neighbour& neighbour : neighbours) {
      nodes.push_back(neighbour.node);
      distances.push_back(neighbour.distance);
    }
  }
  // The plain result: the first `k`, scored by their distances.
  void take_distances(std::size_t k) {
    for (std::size_t i = 0; i < std::min(k, nodes.size()); ++i) {
      scored.push_back({nodes[i], distances[i]});
    }
    order.resize(scored.size());
    std::iota(order.begin(), order.end(), 0U);
  }
};

// The nearest `limit` of every query, with the time each took.
struct Candidates {
  std::size_t limit = 0;
  std::vector<Neighbour> neighbours;
  std::vector<std::size_t> found;
  std::span<const Neighbour> of(std::size_t query) const {
    return std::span(neighbours).subspan(query * limit, found[query]);
  }
};

}  // namespace

// Scratch memory grows to about 20 bytes a vector and thread: making it for every request would
// cost as much as a search.
class Engine::Workers {
 public:
  /// `model` may be null.
  explicit Workers(const gnn::RefinementModel* model)
      : hubness_(model ? gnn::hubness(model->parts().edges, model->size()) : 0.0) {}
  /// Of the model's graph: measured once.
  double hubness() const { return hubness_; }

  // The workers of one search, each made when it is first needed.
  class Lease {
   public:
    Lease(Workers& pool, std::size_t threads) : pool_(pool), mine_(threads) {}
    ~Lease() {
      for (auto& worker : mine_) {
        if (worker) pool_.give(std::move(worker));
      }
    }
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    Worker& of(std::size_t thread) {
      if (!mine_[thread]) mine_[thread] = pool_.take();
      return *mine_[thread];
    }

   private:
    Workers& pool_;
    std::vector<std::unique_ptr<Worker>> mine_;
  };

 private:
  static constexpr std::size_t kKept = 64;

  std::unique_ptr<Worker> take() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!free_.empty()) {
        auto worker = std::move(free_.back());
        free_.pop_back();
        return worker;
      }
    }
    return std::make_unique<Worker>();
  }
  void give(std::unique_ptr<Worker> worker) noexcept {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (free_.size() < free_.capacity()) free_.push_back(std::move(worker));
  }

  double hubness_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Worker>> free_ = [] {
    std::vector<std::unique_ptr<Worker>> room;
    room.reserve(kKept);
    return room;
  }();
};

namespace {

// Queries without candidates (not searched in time, or nothing passes the filter) say nothing.
double gate_of(const gnn::RefinementModel& model, double hubness, const Candidates& candidates) {
  const auto& parts = model.parts();
  double sum = 0;
  std::size_t measured = 0;
  if (candidates.found.size() >= gnn::kCoherenceQueries) {
    Worker worker;
    for (std::size_t q = 0; q < candidates.found.size(); ++q) {
      const auto nearest = candidates.of(q);
      if (nearest.empty()) continue;
      worker.split(nearest.first(std::min(parts.options.window, nearest.size())));
      sum += gnn::window_coherence(worker.nodes, parts.edges, gnn::kCoherenceEdges);
      ++measured;
    }
  }
  const double gate =
      measured < gnn::kCoherenceQueries
          ? parts.calibrated_gate.value_or(gnn::kUnmeasuredGate)
          : gnn::harm_gate(sum / static_cast<double>(measured), parts.base_coherence);
  return gnn::bounded_gate(gate, hubness, parts.base_coherence);
}

float distance_to(const GraphSnapshot& snapshot, std::span<const float> query, Node node) {
  std::vector<float> vector(snapshot.dim());
  snapshot.copy_vector(node, vector);
  if (snapshot.metric() == Metric::kL2) {
    return kernels::l2_squared(query.data(), vector.data(), vector.size());
  }
  const float dot = kernels::dot(query.data(), vector.data(), vector.size());
  if (snapshot.metric() == Metric::kInnerProduct) return 1.0F - dot;
  return 1.0F - dot / std::sqrt(kernels::dot(query.data(), query.data(), query.size()));
}

// Fills the plain_* of query q, and the distance and the plain rank of each of its results.
void explain(const GraphSnapshot& snapshot, std::span<const float> query, std::size_t q,
             const Worker& worker, bool refined, BatchResults& results) {
  const std::size_t first = q * results.k;
  for (std::size_t i = 0; i < std::min(results.k, worker.nodes.size()); ++i) {
    results.plain_ids[first + i] = snapshot.id(worker.nodes[i]);
    results.plain_distances[first + i] = worker.distances[i];
  }
  for (std::size_t i = 0; i < results.found[q]; ++i) {
    const Node node = worker.scored[worker.order[i]].node;
    const auto at = std::find(worker.nodes.begin(), worker.nodes.end(), node);
    const bool candidate = at != worker.nodes.end();
    const auto place = static_cast<std::size_t>(at - worker.nodes.begin());
    results.plain_ranks[first + i] = candidate ? static_cast<std::uint32_t>(place + 1) : 0;
    results.distances[first + i] = !refined    ? worker.distances[i]
                                   : candidate ? worker.distances[place]
                                               : distance_to(snapshot, query, node);
  }
}

// worker.order: the best `k` of worker.scored, equal scores in the plain order.
void order_by_score(Worker& worker, std::size_t k) {
  worker.order.resize(worker.scored.size());
  std::iota(worker.order.begin(), worker.order.end(), 0U);
  std::partial_sort(worker.order.begin(), worker.order.begin() + static_cast<std::ptrdiff_t>(k),
                    worker.order.end(), [&](std::uint32_t a, std::uint32_t b) {
                      const float x = worker.scored[a].score, y = worker.scored[b].score;
                      return x != y ? x > y : a < b;
                    });
}

}  // namespace

Engine::Engine(std::shared_ptr<const GraphSnapshot> snapshot,
               std::shared_ptr<const gnn::RefinementModel> model,
               std::shared_ptr<const gnn::TrainedModel> trained)
    : workers_(std::make_shared<Workers>(model.get())),
      snapshot_(std::move(snapshot)),
      model_(std::move(model)),
      trained_(std::move(trained)) {
  if (!snapshot_) throw Error(ErrorCode::kInvalidArgument, "an engine needs a snapshot");
  const auto check = [&](const auto& of, const char* what) {
    if (!of) return;
    const auto& parts = of->parts();
    require_same_index({what, of->size(), of->dim(), parts.unit_input, parts.index}, *snapshot_);
  };
  check(model_, "refinement");
  check(trained_, "trained");
}

Engine Engine::build(const MatrixView& vectors, std::span<const Id> ids,
                     const BuildOptions& options, const Executor& executor, const Job& job) try {
  if (vectors.rows == 0) throw Error(ErrorCode::kEmpty, "no vectors to build an index from");
  VectorIndex index(vectors.cols, options);
  if (ids.empty()) {
    index.add(vectors, executor, job);
  } else {
    index.add(vectors, ids, executor, job);
  }
  return Engine(index.seal(executor, job));
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to build an index"; });
}

Engine Engine::refined(const gnn::RefineOptions& options, const Executor& executor, const Job& job,
                       const MatrixView& sample_queries) const try {
  Engine engine(snapshot_, prepare_refinement(*snapshot_, options, executor, job, sample_queries),
                trained_);
  engine.follow(fusion_);
  return engine;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to prepare refinement"; });
}

Engine Engine::with_snapshot(std::shared_ptr<const GraphSnapshot> changed, const Executor& executor,
                             const Job& job) const {
  if (!changed) throw Error(ErrorCode::kInvalidArgument, "an engine needs a snapshot");
  if (!model_) return Engine(std::move(changed));
  auto model = carry_refinement(*model_, *snapshot_, *changed, executor, job);
  Engine engine(std::move(changed), std::move(model));
  engine.follow(fusion_);
  return engine;
}

Engine Engine::recomputed(const Executor& executor, const Job& job) const {
  if (!model_) {
    throw Error(ErrorCode::kNotPrepared, "this index was never refined: prepare it first");
  }
  Engine engine(snapshot_, recompute_dirty(*model_, *snapshot_, executor, job), trained_);
  engine.follow(fusion_);
  return engine;
}

Engine Engine::with_trained(std::shared_ptr<const gnn::TrainedModel> trained) const {
  return Engine(snapshot_, model_, std::move(trained));
}

Engine Engine::with_fusion(std::shared_ptr<const gnn::Fusion> fusion) const {
  Engine engine(snapshot_, model_, fusion ? nullptr : trained_);
  if (!fusion) return engine;
  if (!model_) {
    throw Error(ErrorCode::kNotPrepared, "fusion weights need a refined index: prepare it first");
  }
  fusion->validate();
  if (!fusion->fits(*model_)) {
    throw Error(ErrorCode::kModelMismatch, "the fusion weights are for a model of other heads");
  }
  engine.fusion_ = std::move(fusion);
  return engine;
}

// Weights of a model with the same heads, or none.
void Engine::follow(const std::shared_ptr<const gnn::Fusion>& fusion) {
  if (fusion && model_ && fusion->fits(*model_)) fusion_ = fusion;
}

void Engine::save(const std::filesystem::path& path, const Job& job) const try {
  io::BundleWriter writer;
  io::write_snapshot(writer, *snapshot_);
  if (model_) io::write_model(writer, *model_);
  if (trained_) io::write_trained(writer, *trained_);
  if (fusion_) io::write_fusion(writer, *fusion_);
  writer.write(path, job);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to save an index"; });
}

Engine Engine::load(const std::filesystem::path& path) try {
  // Each section is checked when it is read, so each byte is read once.
  const io::BundleReader reader(path, io::BundleReader::Check::kStructure);
  const auto restore = [&] {
    auto snapshot = io::read_snapshot(reader);
    auto model = io::read_model(reader);
    auto trained = io::read_trained(reader);
    auto fusion = io::read_fusion(reader);
    if (fusion && !model) io::fail(ErrorCode::kCorrupt, path, "fusion weights without a model");
    try {
      Engine engine(std::move(snapshot), std::move(model), std::move(trained));
      return fusion ? engine.with_fusion(std::move(fusion)) : engine;
    } catch (const Error& error) {
      io::fail(error.code(), path, error.what());
    }
  };
  return io::reporting_memory(path, restore);
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to load an index"; });
}

BatchResults Engine::search(const MatrixView& queries, const QueryOptions& options,
                            const Executor& executor, const Job& job) const {
  if (options.observer == nullptr) return answer(queries, options, executor, job);
  try {
    BatchResults results = answer(queries, options, executor, job);
    options.observer->searched(options, results);
    return results;
  } catch (const Error& error) {
    options.observer->failed(options, error.code());
    throw;
  }
}

BatchResults Engine::answer(const MatrixView& queries, const QueryOptions& options,
                            const Executor& executor, const Job& job) const try {
  const auto start = Clock::now();
  const bool refining = options.refine != RefineMode::kOff;
  const bool fused = options.refine == RefineMode::kTrained && fusion_;
  const bool trained = options.refine == RefineMode::kTrained && !fused;
  if (trained && !trained_) {
    throw Error(ErrorCode::kNotPrepared, "no model was trained for this index: train one first");
  }
  if (refining && !trained && !model_) {
    throw Error(ErrorCode::kNotPrepared, "this index was never refined: prepare it first");
  }
  if (refining && options.k > options.candidates) {
    throw Error(ErrorCode::kInvalidArgument,
                "k = " + std::to_string(options.k) + " is more than the " +
                    std::to_string(options.candidates) + " candidates");
  }
  SearchOptions search_options{options.k, options.ef, options.filter};
  search_options.validate(*snapshot_);
  if (refining) {
    search_options.k = std::min(options.candidates, snapshot_->size());
    search_options.ef = std::max(options.ef, search_options.k);
  }
  validate_queries(*snapshot_, queries);

  const std::size_t places = queries.rows * options.k;
  BatchResults results;
  results.k = options.k;
  results.ids.assign(places, Id{-1});
  results.scores.assign(places, 0.0F);
  results.found.resize(queries.rows);
  results.answers.assign(queries.rows, Answer::kWhole);
  results.latency_seconds.resize(queries.rows);
  if (options.explain) {
    results.plain_ids.assign(places, Id{-1});
    results.plain_distances.assign(places, 0.0F);
    results.distances.assign(places, 0.0F);
    results.plain_ranks.assign(places, 0U);
  }
  Workers::Lease workers(*workers_, executor.threads());
  std::vector<double> refine_seconds(refining ? queries.rows : 0);

  Candidates candidates;
  candidates.limit = search_options.k;
  candidates.neighbours.resize(queries.rows * search_options.k);
  candidates.found.resize(queries.rows);
  const BatchOrder order(*snapshot_, queries, search_options, executor, job);
  executor.parallel_for_workers(
      queries.rows, kQueriesAtOnce, [&](std::size_t w, std::size_t begin, std::size_t end) {
        Worker& worker = workers.of(w);
        for (std::size_t at = begin; at < end; ++at) {
          const std::size_t q = order.query(at);
          job.check();
          if (options.deadline.passed()) {
            results.answers[q] = Answer::kNone;
            continue;
          }
          const auto search_start = Clock::now();
          candidates.found[q] = halo::search(
              *snapshot_, queries.row_span(q), search_options, worker.search,
              std::span(candidates.neighbours).subspan(q * candidates.limit, candidates.limit),
              order.start(q));
          results.latency_seconds[q] = seconds_since(search_start);
        }
        job.advance(end - begin);
      });
  results.search_seconds =
      std::accumulate(results.latency_seconds.begin(), results.latency_seconds.end(), 0.0);
  results.gate = trained || fused ? 1.0
                 : refining       ? gate_of(*model_, workers_->hubness(), candidates)
                                  : 0.0;
  std::vector<float> weights;
  if (fused) {
    weights = fusion_->weights;
  } else if (refining && !trained) {
    weights = gnn::label_free_weights(*model_, results.gate);
  }
  gnn::NodeFilter allowed;
  if (!options.filter.empty()) {
    allowed = [&filter = options.filter](std::uint32_t node) { return filter.allows(node); };
  }

  executor.parallel_for_workers(
      queries.rows, kQueriesAtOnce, [&](std::size_t w, std::size_t begin, std::size_t end) {
        Worker& worker = workers.of(w);
        for (std::size_t at = begin; at < end; ++at) {
          const std::size_t q = order.query(at);
          if (results.answers[q] == Answer::kNone) continue;
          job.check();
          worker.split(candidates.of(q));
          worker.scored.clear();
          const auto refine_start = Clock::now();
          const bool refine = refining && !options.deadline.passed();
          if (!refine) {
            worker.take_distances(options.k);
            if (refining) {
              results.answers[q] = Answer::kPlain;
              for (gnn::ScoredNode& plain : worker.scored) plain.score = -plain.score;
            }
          } else if (trained) {
            trained_->refine(queries.row_span(q), worker.nodes, worker.distances, search_options.k,
                             allowed, worker.trained);
            for (std::size_t i = 0; i < worker.trained.nodes.size(); ++i) {
              worker.scored.push_back({worker.trained.nodes[i], worker.trained.scores[i]});
            }
          } else {
            gnn::refine_query(*model_, queries.row_span(q), worker.nodes, worker.distances, weights,
                              allowed, worker.refine, worker.scored);
            if (results.gate <= gnn::kUnmeasuredGate) gnn::hold_first(worker.scored);
          }
          if (refine) {
            order_by_score(worker, std::min(options.k, worker.scored.size()));
            refine_seconds[q] = seconds_since(refine_start);
          }
          const std::size_t found = std::min(options.k, worker.scored.size());
          results.found[q] = found;
          for (std::size_t i = 0; i < found; ++i) {
            const gnn::ScoredNode& best = worker.scored[worker.order[i]];
            results.ids[q * options.k + i] = snapshot_->id(best.node);
            results.scores[q * options.k + i] = best.score;
          }
          if (options.explain) {
            explain(*snapshot_, queries.row_span(q), q, worker, refine, results);
          }
        }
      });
  for (std::size_t q = 0; q < refine_seconds.size(); ++q) {
    results.refine_seconds += refine_seconds[q];
    results.latency_seconds[q] += refine_seconds[q];
  }
  results.partial = std::any_of(results.answers.begin(), results.answers.end(),
                                [](Answer answer) { return answer != Answer::kWhole; });
  results.wall_seconds = seconds_since(start);
  return results;
} catch (const std::bad_alloc&) {
  throw_out_of_memory([] { return "no memory to search"; });
}

}  // namespace halo
