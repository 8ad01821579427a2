// The C API: one place that translates types, options and errors.
#include <chrono>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <numeric>
#include <string>
#include <vector>

#include "halo/core/error.h"
#include "halo/core/executor.h"
#include "halo/core/version.h"
#include "halo/integration/capi/halo.h"
#include "halo/integration/live_engine.h"

struct halo_index {
  halo::LiveEngine engine;
};
struct halo_executor {
  halo::Executor executor;
};

namespace {

using halo::Error;
using halo::ErrorCode;

// A fixed buffer: noting an error needs no memory.
thread_local char last_error[512] = "";

int fail(ErrorCode code, const char* what) noexcept {
  std::strncpy(last_error, what, sizeof(last_error) - 1);
  return static_cast<int>(code);
}

template <class Body>
int guarded(Body&& body) noexcept {
  try {
    body();
    return HALO_OK;
  } catch (const Error& error) {
    return fail(error.code(), error.what());
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kOutOfMemory, "not enough memory");
  } catch (const std::exception& error) {
    return fail(ErrorCode::kInternal, error.what());
  } catch (...) {
    return fail(ErrorCode::kInternal, "an unknown exception");
  }
}

void require(bool condition, const char* what) {
  if (!condition) throw Error(ErrorCode::kInvalidArgument, what);
}

// The first struct_size bytes of `given` over the defaults: a program that was compiled with an
// earlier header has a shorter struct.
template <class Options>
Options with_defaults(const Options* given, void (*init)(Options*)) {
  Options options;
  init(&options);
  if (given == nullptr) return options;
  require(given->struct_size >= sizeof(std::size_t) && given->struct_size <= sizeof(Options),
          "an options struct that its init function has not initialised, or of a later version");
  std::memcpy(&options, given, given->struct_size);
  return options;
}

const halo::Executor& executor_of(const halo_executor* executor) {
  static const halo::Executor calling_thread(1);
  return executor == nullptr ? calling_thread : executor->executor;
}

halo::BuildOptions build_options(const halo_build_options* given) {
  const halo_build_options from = with_defaults(given, halo_build_options_init);
  require(from.metric >= HALO_METRIC_L2 && from.metric <= HALO_METRIC_COSINE, "no such metric");
  halo::BuildOptions options;
  options.metric = static_cast<halo::Metric>(from.metric);
  options.M = from.M;
  options.ef_construction = from.ef_construction;
  options.seed = from.seed;
  options.validate();
  return options;
}

using Write = void (halo::LiveEngine::*)(const halo::MatrixView&, std::span<const halo::Id>,
                                         const halo::Job&);

int write(halo_index* index, Write how, const float* vectors, size_t rows, const int64_t* ids) {
  return guarded([&] {
    require(index != nullptr, "no index");
    require(rows == 0 || (vectors != nullptr && ids != nullptr), "no vectors or no ids");
    (index->engine.*how)({vectors, rows, index->engine.dim()}, {ids, rows}, {});
  });
}

}  // namespace

extern "C" {

const char* halo_version(void) { return HALO_VERSION_STRING; }

const char* halo_status_name(int status) {
  if (status == HALO_OK) return "ok";
  return halo::error_code_name(static_cast<ErrorCode>(status)).data();
}

const char* halo_last_error(void) { return last_error; }

int halo_executor_create(size_t threads, halo_executor** executor) {
  return guarded([&] {
    require(executor != nullptr, "nowhere to put the executor");
    *executor = new halo_executor{halo::Executor(threads)};
  });
}

void halo_executor_destroy(halo_executor* executor) { delete executor; }

void halo_build_options_init(halo_build_options* options) {
  const halo::BuildOptions defaults;
  *options = {sizeof(halo_build_options), HALO_METRIC_L2, defaults.M, defaults.ef_construction,
              defaults.seed};
}

int halo_create(size_t dim, const halo_build_options* options, halo_index** index) {
  return guarded([&] {
    require(index != nullptr, "nowhere to put the index");
    halo::LiveOptions live;
    live.build = build_options(options);
    *index = new halo_index{halo::LiveEngine(dim, live)};
  });
}

int halo_build(const float* vectors, size_t rows, size_t dim, const int64_t* ids,
               const halo_build_options* options, const halo_executor* executor,
               halo_index** index) {
  return guarded([&] {
    require(index != nullptr, "nowhere to put the index");
    require(vectors != nullptr, "no vectors");
    const auto named = ids == nullptr ? std::span<const halo::Id>() : std::span(ids, rows);
    auto engine = std::make_shared<const halo::Engine>(halo::Engine::build(
        {vectors, rows, dim}, named, build_options(options), executor_of(executor)));
    *index = new halo_index{halo::LiveEngine(std::move(engine), {})};
  });
}

int halo_open(const char* path, halo_index** index) {
  return guarded([&] {
    require(index != nullptr, "nowhere to put the index");
    require(path != nullptr, "no path");
    auto engine = std::make_shared<const halo::Engine>(halo::Engine::load(path));
    *index = new halo_index{halo::LiveEngine(std::move(engine), {})};
  });
}

int halo_save(halo_index* index, const char* path, const halo_executor* executor) {
  return guarded([&] {
    require(index != nullptr, "no index");
    require(path != nullptr, "no path");
    const auto engine = index->engine.settle({}, executor_of(executor));
    if (!engine) throw Error(ErrorCode::kEmpty, "no vectors to save");
    engine->save(path);
  });
}

void halo_index_destroy(halo_index* index) { delete index; }

size_t halo_size(const halo_index* index) { return index == nullptr ? 0 : index->engine.size(); }

size_t halo_dim(const halo_index* index) { return index == nullptr ? 0 : index->engine.dim(); }

int halo_contains(const halo_index* index, int64_t id) {
  return index != nullptr && index->engine.contains(id) ? 1 : 0;
}

int halo_get_vector(const halo_index* index, int64_t id, float* vector) {
  return guarded([&] {
    require(index != nullptr && vector != nullptr, "no index or no room for the vector");
    const auto stored = index->engine.vector(id);
    if (!stored) {
      throw Error(ErrorCode::kUnknownId, "the index holds no vector with id " + std::to_string(id));
    }
    std::copy(stored->begin(), stored->end(), vector);
  });
}

int halo_add(halo_index* index, const float* vectors, size_t rows, const int64_t* ids) {
  return write(index, &halo::LiveEngine::add, vectors, rows, ids);
}

int halo_update(halo_index* index, const float* vectors, size_t rows, const int64_t* ids) {
  return write(index, &halo::LiveEngine::update, vectors, rows, ids);
}

int halo_upsert(halo_index* index, const float* vectors, size_t rows, const int64_t* ids) {
  return write(index, &halo::LiveEngine::upsert, vectors, rows, ids);
}

int halo_remove(halo_index* index, const int64_t* ids, size_t count) {
  return guarded([&] {
    require(index != nullptr, "no index");
    require(count == 0 || ids != nullptr, "no ids");
    index->engine.remove({ids, count});
  });
}

int halo_settle(halo_index* index, const halo_executor* executor) {
  return guarded([&] {
    require(index != nullptr, "no index");
    index->engine.settle({}, executor_of(executor));
  });
}

int halo_refine(halo_index* index, const float* sample_queries, size_t rows,
                const halo_executor* executor) {
  return guarded([&] {
    require(index != nullptr, "no index");
    halo::SettleOptions options;
    options.refine = true;
    if (sample_queries != nullptr) {
      options.sample_queries = {sample_queries, rows, index->engine.dim()};
    }
    if (!index->engine.settle(options, executor_of(executor))) {
      throw Error(ErrorCode::kEmpty, "no vectors to refine");
    }
  });
}

void halo_search_options_init(halo_search_options* options) {
  const halo::QueryOptions defaults;
  *options = {};
  options->struct_size = sizeof(halo_search_options);
  options->k = defaults.k;
  options->ef = defaults.ef;
  options->candidates = defaults.candidates;
}

int halo_search(const halo_index* index, const float* queries, size_t rows,
                const halo_search_options* given, const halo_executor* executor, int64_t* ids,
                float* scores, int* answers) {
  return guarded([&] {
    require(index != nullptr, "no index");
    require(rows == 0 || (queries != nullptr && ids != nullptr && scores != nullptr),
            "no queries, or no room for ids or scores");
    const halo_search_options from = with_defaults(given, halo_search_options_init);
    require(from.refine >= HALO_REFINE_OFF && from.refine <= HALO_REFINE_TRAINED,
            "no such refine mode");
    halo::QueryOptions options;
    options.k = from.k;
    options.ef = from.ef;
    options.refine = static_cast<halo::RefineMode>(from.refine);
    options.candidates = from.candidates;
    if (from.deadline_nanos != 0) {
      options.deadline = halo::Deadline::after(std::chrono::nanoseconds(from.deadline_nanos));
    }
    halo::IdFilter filter;
    if (from.filter != nullptr) {
      filter.allows = [&from](halo::Id id) { return from.filter(id, from.user) != 0; };
    }
    const halo::BatchResults results = index->engine.search(
        {queries, rows, index->engine.dim()}, options, executor_of(executor), {}, filter);
    std::copy(results.ids.begin(), results.ids.end(), ids);
    std::copy(results.scores.begin(), results.scores.end(), scores);
    if (answers != nullptr) {
      for (std::size_t q = 0; q < rows; ++q) answers[q] = static_cast<int>(results.answers[q]);
    }
  });
}

}  // extern "C"
