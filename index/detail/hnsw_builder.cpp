#include "halo/index/detail/hnsw_builder.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "halo/core/aligned_memory.h"
#include "halo/core/error.h"
#include "halo/index/detail/graph_walk.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/row_scorer.h"

// hnswlib under another name. Its header defines functions that are not inline and templates whose
// code depends on compiler flags, so a program that uses hnswlib beside halo would otherwise not
// link, or would run a mixture of both. What hnswlib includes comes first, under its right names.
#include <assert.h>  // NOLINT(modernize-deprecated-headers): the names hnswlib spells
#include <stdlib.h>  // NOLINT(modernize-deprecated-headers)
#include <string.h>  // NOLINT(modernize-deprecated-headers)

#include <atomic>
#include <cmath>
#include <deque>
#include <fstream>
#include <iostream>
#include <list>
#include <mutex>
#include <queue>
#include <random>
#include <stdexcept>
#include <unordered_map>
#include <unordered_set>
#if defined(__x86_64__)
#include <cpuid.h>
#include <x86intrin.h>
#endif
#define hnswlib halo_hnswlib
#define cpuid halo_hnswlib_cpuid
#define xgetbv halo_hnswlib_xgetbv
#define AVXCapable halo_hnswlib_avx_capable
#define AVX512Capable halo_hnswlib_avx512_capable
#include <hnswlib/hnswlib.h>
#undef hnswlib
#undef cpuid
#undef xgetbv
#undef AVXCapable
#undef AVX512Capable

namespace halo::detail {
namespace {

using Row = halo_hnswlib::tableint;
using Links = halo_hnswlib::linklistsizeint;

constexpr std::size_t kLine = 64;
// hnswlib marks "none" with -1 and adds one to row numbers here and there.
constexpr std::size_t kMaxRows = std::numeric_limits<std::int32_t>::max();
// The first points see each other: begun at once they would not be linked.
constexpr std::size_t kSequentialStart = 64;
constexpr std::size_t kGrain = 16;
// Rows of a batch do not see each other's links, so a batch is no more than this share of what is
// linked already: one in 50, and never more than this.
constexpr std::size_t kBatchShare = 50, kLargestBatch = 128, kBatchGrain = 4;

constexpr std::size_t round_up(std::size_t bytes) { return (bytes + kLine - 1) / kLine * kLine; }

// hnswlib's view of stored rows.
class Space : public halo_hnswlib::SpaceInterface<float> {
 public:
  explicit Space(const StoredRows& rows) : rows_(rows) {}
  std::size_t get_data_size() override { return rows_.bytes; }
  halo_hnswlib::DISTFUNC<float> get_dist_func() override { return &distance; }
  void* get_dist_func_param() override { return &rows_; }
  StoredRows& rows() { return rows_; }
  const StoredRows& rows() const { return rows_; }

 private:
  static float distance(const void* a, const void* b, const void* self) {
    return static_cast<const StoredRows*>(self)->distance(static_cast<const std::byte*>(a),
                                                          static_cast<const std::byte*>(b));
  }
  StoredRows rows_;
};

AlignedArray<char> allocate(std::size_t bytes) {
  AlignedArray<char> block(static_cast<char*>(allocate_aligned(bytes)));
  if (!block) throw std::bad_alloc();
  return block;
}

// The links that older points had before this insertion touched them.
struct Journal {
  struct Entry {
    Row row;
    int layer;
    std::size_t begin;  // into words: the count, then the links
  };
  std::vector<Entry> entries;
  std::vector<std::uint32_t> words;
};

// What one thread needs while it inserts.
struct Worker {
  WalkScratch walk;
  StoredRows::Buffers query;
  std::vector<Row> links;  // a list copied under its lock
  Journal journal;
  bool alone = false;  // no other thread inserts
};

class Graph : public halo_hnswlib::HierarchicalNSW<float> {
 public:
  using Base = halo_hnswlib::HierarchicalNSW<float>;
  using Nearest = std::priority_queue<std::pair<float, Row>, std::vector<std::pair<float, Row>>,
                                      CompareByFirst>;

  // hnswlib's empty index, set up here: its own constructor for one leaks when memory runs out
  // inside it, and allocates locks and visited lists that nothing here uses.
  Graph(Space* space, std::size_t M, std::size_t ef_construction)
      : Base(space), rows_(space->rows()) {
    data_level0_memory_ = nullptr;
    linkLists_ = nullptr;
    visited_list_pool_ = nullptr;
    max_elements_ = cur_element_count = num_deleted_ = 0;
    enterpoint_node_ = static_cast<Row>(-1);
    maxlevel_ = -1;
    M_ = maxM_ = M;
    maxM0_ = 2 * M;
    ef_construction_ = std::max(ef_construction, M);
    fstdistfunc_ = space->get_dist_func();
    dist_func_param_ = space->get_dist_func_param();
    data_size_ = space->get_data_size();
    size_links_per_element_ = maxM_ * sizeof(Row) + sizeof(Links);
    size_links_level0_ = maxM0_ * sizeof(Row) + sizeof(Links);
    // Every vector begins a cache line. hnswlib's prefetches read the word after a list, which is
    // padding here.
    offsetLevel0_ = 0;
    offsetData_ = round_up(size_links_level0_);
    label_offset_ = offsetData_ + data_size_;  // labels are not used: a row is its own label
    size_data_per_element_ = round_up(label_offset_);
  }

  std::byte* data(Row row) const {
    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): hnswlib counts in char
    return reinterpret_cast<std::byte*>(data_level0_memory_ + row * size_data_per_element_ +
                                        offsetData_);
  }

  std::span<const std::uint32_t> links(Row row, int layer) const {
    const Links* list = get_linklist_at_level(row, layer);
    return {list + 1, getListCount(const_cast<Links*>(list))};
  }

  // Room for `rows` points. Strong guarantee: everything is allocated before anything is replaced.
  void reserve(std::size_t rows) {
    if (rows <= max_elements_) return;
    if (rows > kMaxRows) {
      throw Error(ErrorCode::kOutOfMemory, std::to_string(rows) + " vectors are more than " +
                                               std::to_string(kMaxRows) + ", an index's limit");
    }
    const std::size_t capacity = std::min(kMaxRows, std::max(rows, max_elements_ * 3 / 2));
    if (capacity > std::numeric_limits<std::size_t>::max() / 2 / size_data_per_element_) {
      throw std::bad_alloc();
    }
    AlignedArray<char> level0 = allocate(capacity * size_data_per_element_);
    AlignedArray<char*> lists(static_cast<char**>(std::calloc(capacity, sizeof(char*))));
    if (!lists) throw std::bad_alloc();
    std::vector<std::mutex> locks(capacity);
    touched_.resize(capacity);
    element_levels_.resize(capacity);

    if (cur_element_count != 0) {
      std::memcpy(level0.get(), data_level0_memory_, cur_element_count * size_data_per_element_);
      std::memcpy(lists.get(), linkLists_, cur_element_count * sizeof(char*));
    }
    std::free(std::exchange(data_level0_memory_, level0.release()));
    std::free(std::exchange(linkLists_, lists.release()));
    link_list_locks_.swap(locks);
    max_elements_ = capacity;
  }

  // Gives `row` its empty lists above layer 0. Nothing refers to it yet.
  void prepare(Row row, std::uint8_t level) {
    linkLists_[row] = nullptr;
    element_levels_[row] = level;
    if (level == 0) return;
    // The padding is for hnswlib's prefetches, see above.
    linkLists_[row] = static_cast<char*>(std::calloc(1, size_links_per_element_ * level + kLine));
    if (linkLists_[row] == nullptr) throw std::bad_alloc();
  }

  // Empties the links of layer 0 and the vector, padding included.
  void clear(Row row) {
    std::memset(data_level0_memory_ + row * size_data_per_element_, 0, size_data_per_element_);
  }

  void discard(Row row) {
    std::free(std::exchange(linkLists_[row], nullptr));
    element_levels_[row] = 0;
  }

  // hnswlib's insertion of a prepared row. Safe from several threads for different rows, each with
  // its own worker, whose journal keeps the links of rows below `old_rows` before they change.
  void link(Row row, Row old_rows, Worker& worker) {
    const int level = element_levels_[row];
    // Lock order: the top, then the own row, held until the row is linked in all its layers, then
    // one other row at a time. A row found by another thread is thus finished once its lock is
    // taken, so no two threads ever wait for each other.
    std::unique_lock<std::mutex> top_lock(global);
    const auto own_lock = lock_row(row, worker);
    const int top = maxlevel_;
    Row current = enterpoint_node_;
    // A point that rises above the top becomes the entry point: no other may look meanwhile.
    if (level <= top) top_lock.unlock();

    if (top >= 0) {
      const RowScorer score =
          rows_.scorer(data(0), size_data_per_element_, data(row), worker.query);
      if (level < top) current = descend(score, current, top, level, worker);
      for (int layer = std::min(level, top); layer >= 0; --layer) {
        auto nearest = search_layer(score, current, layer, worker);
        if (old_rows != 0) {
          // mutuallyConnectNewElement would select the same ones: the selection is idempotent.
          getNeighborsByHeuristic2(nearest, M_);
          for (auto copy = nearest; !copy.empty(); copy.pop()) {
            if (copy.top().second < old_rows) keep(copy.top().second, layer, worker);
          }
        }
        current = mutuallyConnectNewElement(data(row), row, nearest, layer, false);
      }
    }
    if (level > top) {
      enterpoint_node_ = row;
      maxlevel_ = level;
    }
  }

  // The links to be of one row, a layer's behind another's from the lowest.
  using Chosen = std::vector<std::vector<std::pair<float, Row>>>;

  // What link() would choose for `row`, from the graph as it is and the rows [batch, row), which
  // are not linked yet. Safe from several threads while nobody links.
  Chosen choose(Row row, Row batch, Worker& worker) {
    const int level = element_levels_[row], top = maxlevel_;
    const RowScorer score = rows_.scorer(data(0), size_data_per_element_, data(row), worker.query);
    Row current = enterpoint_node_;
    if (level < top) current = descend(score, current, top, level, worker);
    Chosen chosen(static_cast<std::size_t>(std::min(level, top)) + 1);
    for (int layer = std::min(level, top); layer >= 0; --layer) {
      walk_layer(score, max_elements_, current, walk_width(), LockedRows{*this, layer, worker},
                 worker.walk);
      CandidatePool& pool = worker.walk.pool;
      current = pool.node(0);
      worker.links.clear();
      for (Row other = batch; other < row; ++other) {
        if (element_levels_[other] >= layer) worker.links.push_back(other);
      }
      std::vector<float>& distances = worker.walk.distances;
      if (distances.size() < worker.links.size()) distances.resize(worker.links.size());
      score(worker.links.data(), worker.links.size(), distances.data());
      for (std::size_t i = 0; i < worker.links.size(); ++i) {
        pool.offer(distances[i], worker.links[i]);
      }
      auto nearest = nearest_of(pool);
      getNeighborsByHeuristic2(nearest, M_);
      auto& links = chosen[static_cast<std::size_t>(layer)];
      for (; !nearest.empty(); nearest.pop()) links.push_back(nearest.top());
    }
    return chosen;
  }

  // Links `row`, whose level is not above the top, to what was chosen for it.
  void link_to(Row row, Chosen& chosen, Row old_rows, Worker& worker) {
    for (std::size_t layer = chosen.size(); layer-- > 0;) {
      for (const auto& [distance, other] : chosen[layer]) {
        if (other < old_rows) keep(other, static_cast<int>(layer), worker);
      }
      Nearest nearest(CompareByFirst(), std::move(chosen[layer]));
      mutuallyConnectNewElement(data(row), row, nearest, static_cast<int>(layer), false);
    }
  }

  // Whether a prepared row becomes the entry point once it is linked.
  bool rises(Row row) const { return element_levels_[row] > maxlevel_; }

  // Fills an empty list with what fits of `links`, the nearest.
  void fill(Row row, int layer, std::span<const Row> links) {
    const std::size_t limit = layer == 0 ? maxM0_ : maxM_;
    std::vector<Row> nearest(links.begin(), links.end());
    if (nearest.size() > limit) {
      const auto from = [&](Row other) { return rows_.distance(data(row), data(other)); };
      std::sort(nearest.begin(), nearest.end(),
                [&](Row a, Row b) { return std::pair(from(a), a) < std::pair(from(b), b); });
      nearest.resize(limit);
    }
    Links* list = get_linklist_at_level(row, layer);
    std::copy(nearest.begin(), nearest.end(), list + 1);
    setListCount(list, static_cast<unsigned short>(nearest.size()));
  }

  void restore(const Journal& journal) {
    for (const auto& entry : journal.entries) {
      Links* list = get_linklist_at_level(entry.row, entry.layer);
      const std::uint32_t* saved = journal.words.data() + entry.begin;
      std::memcpy(list, saved, (saved[0] + std::size_t{1}) * sizeof(Links));
    }
  }

  void forget(const Journal& journal) {
    for (const auto& entry : journal.entries) touched_[entry.row] = 0;
  }

 private:
  // Its lock, unless this worker is the only one: then nothing is held and nothing can be waited
  // for.
  std::unique_lock<std::mutex> lock_row(Row row, const Worker& worker) {
    if (worker.alone) return {};
    return std::unique_lock<std::mutex>(link_list_locks_[row]);
  }

  // The links of one layer, copied under their lock.
  struct LockedRows {
    Graph& graph;
    int layer;
    Worker& worker;
    std::span<const Row> operator()(Row row) const {
      if (worker.alone) return graph.links(row, layer);
      const auto lock = graph.lock_row(row, worker);
      const auto locked = graph.links(row, layer);
      worker.links.assign(locked.begin(), locked.end());
      return worker.links;
    }
    void prefetch(Row row) const {
      const char* list = graph.data_level0_memory_ + row * graph.size_data_per_element_;
      __builtin_prefetch(list);
      __builtin_prefetch(list + kLine);
    }
  };

  // ef_construction may come from a file: room for no more candidates than there are rows.
  std::size_t walk_width() const { return std::min(ef_construction_, max_elements_); }

  // hnswlib's searchBaseLayer, without its leak when memory runs out, and with a list's lock held
  // for a copy instead of a list's worth of distances.
  Nearest search_layer(const RowScorer& score, Row entry, int layer, Worker& worker) {
    walk_layer(score, max_elements_, entry, walk_width(), LockedRows{*this, layer, worker},
               worker.walk);
    return nearest_of(worker.walk.pool);
  }

  static Nearest nearest_of(const CandidatePool& pool) {
    std::vector<std::pair<float, Row>> found;
    found.reserve(pool.size());
    // Farthest first is a heap already.
    for (std::size_t i = pool.size(); i-- > 0;) found.emplace_back(pool.distance(i), pool.node(i));
    return Nearest(CompareByFirst(), std::move(found));
  }

  // Greedy walk from `top` down to the layer above `level`.
  Row descend(const RowScorer& score, Row current, int top, int level, Worker& worker) {
    float nearest = score.one(current);
    std::vector<float>& distances = worker.walk.distances;
    for (int layer = top; layer > level; --layer) {
      const LockedRows rows{*this, layer, worker};
      for (bool changed = true; changed;) {
        changed = false;
        const std::span<const Row> list = rows(current);
        if (distances.size() < list.size()) distances.resize(list.size());
        score(list.data(), list.size(), distances.data());
        for (std::size_t i = 0; i < list.size(); ++i) {
          if (distances[i] < nearest) {
            nearest = distances[i];
            current = list[i];
            changed = true;
          }
        }
      }
    }
    return current;
  }

  void keep(Row row, int layer, Worker& worker) {
    const auto lock = lock_row(row, worker);
    Journal& journal = worker.journal;
    const std::uint64_t bit = std::uint64_t{1} << static_cast<unsigned>(layer);
    if ((touched_[row] & bit) != 0) return;
    const auto list = links(row, layer);
    const std::size_t begin = journal.words.size();
    journal.words.push_back(static_cast<std::uint32_t>(list.size()));
    journal.words.insert(journal.words.end(), list.begin(), list.end());
    journal.entries.push_back({row, layer, begin});
    touched_[row] |= bit;
  }

  const StoredRows& rows_;
  std::vector<std::uint64_t> touched_;  // one bit a layer: already in a journal of this insertion
};

}  // namespace

struct HnswBuilder::Impl {
  Impl(Metric m, std::size_t d, std::size_t M, std::size_t ef, CodeKind kind)
      : metric(m), dim(d), space(StoredRows(m, kind, d)), graph(&space, M, ef) {}

  void insert(const MatrixView& added, std::span<const std::uint8_t> levels, bool in_batches,
              const Executor& executor, const Job& job);
  void link_in_batches(std::size_t old_rows, std::size_t begin, std::size_t end,
                       std::vector<Worker>& workers, const Executor& executor, const Job& job);
  void reserve(std::size_t rows);
  float* vector(std::size_t row) const;
  void store(const MatrixView& source, std::size_t first_row, const Executor& executor);
  void copy(const GraphSnapshot& snapshot, const Executor& executor);
  void encode(std::size_t begin, std::size_t end, const Executor& executor);
  CodeKind kind() const { return rows().kind; }
  const StoredRows& rows() const { return space.rows(); }
  std::size_t stride() const { return padded_width(dim); }
  MatrixView stored(std::size_t begin, std::size_t end) const {
    return {vector(begin), end - begin, dim, stride()};
  }

  Metric metric;
  std::size_t dim;
  Space space;
  Graph graph;
  // With codes in the graph: the vectors as the metric stores them, and how codes are made.
  AlignedArray<float> vectors;
  std::size_t capacity = 0;
  Int8Quantiser quantiser;
};

HnswBuilder::HnswBuilder(Metric metric, std::size_t dim, std::size_t M, std::size_t ef_construction,
                         CodeKind codes)
    : impl_(std::make_unique<Impl>(metric, dim, M, ef_construction, codes)) {}
HnswBuilder::~HnswBuilder() = default;

float* HnswBuilder::Impl::vector(std::size_t row) const {
  if (kind() != CodeKind::kF32) return vectors.get() + row * stride();
  // NOLINTNEXTLINE(cppcoreguidelines-pro-type-reinterpret-cast): what the rows hold
  return reinterpret_cast<float*>(graph.data(static_cast<Row>(row)));
}

void HnswBuilder::Impl::reserve(std::size_t rows) {
  graph.reserve(rows);
  if (kind() == CodeKind::kF32 || graph.max_elements_ <= capacity) return;
  const std::size_t floats = graph.max_elements_ * stride();
  AlignedArray<float> larger(static_cast<float*>(allocate_aligned(floats * sizeof(float))));
  if (!larger) throw std::bad_alloc();
  std::copy_n(vectors.get(), graph.cur_element_count * stride(), larger.get());
  vectors = std::move(larger);
  capacity = graph.max_elements_;
}

void HnswBuilder::Impl::store(const MatrixView& source, std::size_t first_row,
                              const Executor& executor) {
  executor.parallel_for(source.rows, 256, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      graph.clear(static_cast<Row>(first_row + i));
      float* out = vector(first_row + i);
      std::fill(out + dim, out + stride(), 0.0F);
      store_row(metric, source.row(i), dim, "vector", i, out);
    }
  });
}

// The vectors and links of prepared rows.
void HnswBuilder::Impl::copy(const GraphSnapshot& snapshot, const Executor& executor) {
  executor.parallel_for(snapshot.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t row = begin; row < end; ++row) {
      graph.clear(static_cast<Row>(row));
      float* out = vector(row);
      std::fill(out + dim, out + stride(), 0.0F);
      snapshot.copy_vector(static_cast<Node>(row), {out, dim});
    }
  });
  if (kind() == CodeKind::kInt8) {
    quantiser = snapshot.codes().kind() == kind()
                    ? snapshot.codes().quantiser()
                    : Int8Quantiser::fit(metric, stored(0, snapshot.size()));
  }
  encode(0, snapshot.size(), executor);
  // Lists are cut to their nearest by distances between stored rows.
  executor.parallel_for(snapshot.size(), 1024, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const Row row = static_cast<Row>(i);
      for (std::size_t layer = 0; layer <= snapshot.levels()[i]; ++layer) {
        graph.fill(row, static_cast<int>(layer), snapshot.neighbours(row, layer));
      }
    }
  });
}

// Codes of the stored vectors [begin, end).
void HnswBuilder::Impl::encode(std::size_t begin, std::size_t end, const Executor& executor) {
  if (kind() == CodeKind::kF32) return;
  space.rows().set_scale(kind() == CodeKind::kInt8 ? quantiser.scale : 1);
  executor.parallel_for(end - begin, 256, [&](std::size_t from, std::size_t to) {
    for (std::size_t row = begin + from; row < begin + to; ++row) {
      encode_row(kind(), quantiser, {vector(row), dim}, graph.data(static_cast<Row>(row)));
    }
  });
}

// Rows choose their links a batch at a time, on all threads, from a graph that nobody changes and
// from the rows before them in the batch; then they are linked one after another. So the graph does
// not depend on threads (Manohar et al., "ParlayANN: scalable and deterministic parallel
// graph-based approximate nearest neighbor search algorithms", 2024, whose batches do not look at
// themselves).
void HnswBuilder::Impl::link_in_batches(std::size_t old_rows, std::size_t begin, std::size_t end,
                                        std::vector<Worker>& workers, const Executor& executor,
                                        const Job& job) {
  for (Worker& worker : workers) worker.alone = true;  // nobody changes what another reads
  const auto old = static_cast<Row>(old_rows);
  std::vector<Graph::Chosen> chosen;
  for (std::size_t row = begin; row < end;) {
    job.check();
    const std::size_t most = std::clamp<std::size_t>(row / kBatchShare, 1, kLargestBatch);
    const auto first = static_cast<Row>(row);
    std::size_t count = 0;
    while (count < std::min(most, end - row) && !graph.rises(first + static_cast<Row>(count))) {
      ++count;
    }
    if (count == 0) {
      graph.link(first, old, workers[0]);
      job.advance(1);
      ++row;
      continue;
    }
    chosen.resize(count);
    executor.parallel_for_workers(
        count, kBatchGrain, [&](std::size_t worker, std::size_t from, std::size_t to) {
          for (std::size_t i = from; i < to; ++i) {
            chosen[i] = graph.choose(first + static_cast<Row>(i), first, workers[worker]);
          }
        });
    for (std::size_t i = 0; i < count; ++i) {
      graph.link_to(first + static_cast<Row>(i), chosen[i], old, workers[0]);
    }
    job.advance(count);
    row += count;
  }
}

void HnswBuilder::Impl::insert(const MatrixView& added, std::span<const std::uint8_t> levels,
                               bool in_batches, const Executor& executor, const Job& job) {
  const std::size_t old_rows = graph.cur_element_count, n = added.rows;
  const Row old_entry = graph.enterpoint_node_;
  const int old_top = graph.maxlevel_;
  const Int8Quantiser old_quantiser = quantiser;
  std::vector<Worker> workers(executor.threads());
  reserve(old_rows + n);
  std::size_t prepared = 0;
  bool encoded_anew = false;
  const auto row_of = [&](std::size_t i) { return static_cast<Row>(old_rows + i); };
  try {
    for (; prepared < n; ++prepared) graph.prepare(row_of(prepared), levels[prepared]);
    store(added, old_rows, executor);
    if (kind() == CodeKind::kInt8 &&
        (old_rows == 0 || !quantiser.fits(metric, stored(old_rows, old_rows + n)))) {
      quantiser = Int8Quantiser::fit(metric, stored(0, old_rows + n));
      encoded_anew = old_rows != 0;
    }
    encode(encoded_anew ? 0 : old_rows, old_rows + n, executor);
    const auto link = [&](std::size_t worker, std::size_t begin, std::size_t end) {
      for (std::size_t i = begin; i < end; ++i) {
        job.check();
        graph.link(row_of(i), static_cast<Row>(old_rows), workers[worker]);
      }
      job.advance(end - begin);
    };
    const std::size_t first = std::min(n, kSequentialStart - std::min(kSequentialStart, old_rows));
    workers[0].alone = true;
    for (std::size_t i = 0; i < first; i += kGrain) link(0, i, std::min(first, i + kGrain));
    if (in_batches) {
      link_in_batches(old_rows, old_rows + first, old_rows + n, workers, executor, job);
    } else {
      workers[0].alone = workers.size() == 1;
      executor.parallel_for_workers(n - first, kGrain,
                                    [&](std::size_t worker, std::size_t begin, std::size_t end) {
                                      link(worker, first + begin, first + end);
                                    });
    }
  } catch (...) {
    for (const Worker& worker : workers) {
      graph.restore(worker.journal);
      graph.forget(worker.journal);
    }
    quantiser = old_quantiser;
    if (encoded_anew) encode(0, old_rows, executor);
    // prepare() may have failed in the middle of its last row.
    for (std::size_t i = 0; i < std::min(n, prepared + 1); ++i) graph.discard(row_of(i));
    graph.enterpoint_node_ = old_entry;
    graph.maxlevel_ = old_top;
    throw;
  }
  for (const Worker& worker : workers) graph.forget(worker.journal);
  graph.cur_element_count = old_rows + n;
}

void HnswBuilder::insert(const MatrixView& vectors, std::span<const std::uint8_t> levels,
                         bool in_batches, const Executor& executor, const Job& job) {
  try {
    impl_->insert(vectors, levels, in_batches, executor, job);
  } catch (const Error&) {
    throw;
  } catch (const std::bad_alloc&) {
    throw Error(ErrorCode::kOutOfMemory,
                "no memory to insert " + std::to_string(vectors.rows) + " vectors");
  } catch (const std::runtime_error& error) {
    throw Error(ErrorCode::kInternal, std::string("hnswlib: ") + error.what());
  }
}

void HnswBuilder::restore(const GraphSnapshot& snapshot, const Executor& executor) {
  Graph& graph = impl_->graph;
  const std::size_t n = snapshot.size();
  std::size_t prepared = 0;
  try {
    impl_->reserve(n);
    for (; prepared < n; ++prepared) {
      graph.prepare(static_cast<Row>(prepared), snapshot.levels()[prepared]);
    }
    impl_->copy(snapshot, executor);
  } catch (const std::bad_alloc&) {
    for (std::size_t i = 0; i < prepared; ++i) graph.discard(static_cast<Row>(i));
    throw Error(ErrorCode::kOutOfMemory,
                "no memory to go on with " + std::to_string(n) + " vectors");
  }
  graph.enterpoint_node_ = snapshot.entry_point();
  graph.maxlevel_ = static_cast<int>(snapshot.num_layers()) - 1;
  graph.cur_element_count = n;
}

std::size_t HnswBuilder::size() const { return impl_->graph.cur_element_count; }
std::size_t HnswBuilder::capacity() const { return impl_->graph.max_elements_; }
const float* HnswBuilder::vector(std::size_t row) const { return impl_->vector(row); }
CodeKind HnswBuilder::codes() const { return impl_->kind(); }
std::size_t HnswBuilder::level(std::size_t row) const {
  return static_cast<std::size_t>(impl_->graph.element_levels_[row]);
}
std::span<const std::uint32_t> HnswBuilder::links(std::size_t row, std::size_t layer) const {
  return impl_->graph.links(static_cast<Row>(row), static_cast<int>(layer));
}
std::uint32_t HnswBuilder::entry_point() const { return impl_->graph.enterpoint_node_; }
std::size_t HnswBuilder::top_layer() const {
  return static_cast<std::size_t>(impl_->graph.maxlevel_);
}

}  // namespace halo::detail
