// Sequences of operations on a LiveIndex (add, update, remove, seal, save and load, search) and on
// a VectorIndex (add, seal, resume), beside a plain map that says what must come out. Bad arguments
// are among them: they must be refused with their own error and change nothing.
#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "fuzz/targets.h"
#include "halo/index/live_index.h"
#include "halo/index/vector_index.h"
#include "halo/integration/io/bundle.h"
#include "halo/integration/io/snapshot_io.h"

namespace halo::fuzz {
namespace {

constexpr std::size_t kMostRows = 4;
constexpr Id kIds = 40;  // few, so that operations meet

/// The code that a call ended with; kInternal stands for none.
template <class Call>
ErrorCode outcome(Call&& call) {
  try {
    std::forward<Call>(call)();
  } catch (const Error& error) {
    check(error.code() != ErrorCode::kInternal, error.what());
    return error.code();
  }
  return ErrorCode::kInternal;
}

float value_of(std::uint8_t byte) {
  switch (byte) {
    case 255:
      return std::numeric_limits<float>::quiet_NaN();
    case 254:
      return std::numeric_limits<float>::infinity();
    case 253:
      return 3e38F;  // finite, but its square is not
    case 252:
      return 1e18F;
    case 251:
      return 1e-30F;
    default:
      return static_cast<float>(static_cast<int>(byte % 64) - 32) / 8;
  }
}

double squared_length(std::span<const float> x) {
  double sum = 0;
  for (const float v : x) sum += static_cast<double>(v) * v;
  return sum;
}

/// Vectors under ids, as they were given, with the rules for what may be stored.
class PlainIndex {
 public:
  PlainIndex(Metric metric, std::size_t dim) : metric_(metric), dim_(dim) {}

  std::size_t size() const { return vectors_.size(); }
  bool contains(Id id) const { return vectors_.contains(id); }
  const std::map<Id, std::vector<float>>& vectors() const { return vectors_; }
  void put(Id id, std::span<const float> vector) {
    vectors_[id].assign(vector.begin(), vector.end());
  }
  void remove(Id id) { vectors_.erase(id); }

  /// What must become of a vector: kInternal where it may be stored or asked for.
  ErrorCode judge(std::span<const float> vector) const {
    const auto finite = [](float x) { return std::isfinite(x); };
    if (!std::all_of(vector.begin(), vector.end(), finite)) return ErrorCode::kNonFinite;
    const double length = squared_length(vector);
    if (metric_ == Metric::kCosine) {
      return length == 0 ? ErrorCode::kZeroVector : ErrorCode::kInternal;
    }
    return length > std::numeric_limits<float>::max() / 4 ? ErrorCode::kNonFinite
                                                          : ErrorCode::kInternal;
  }
  double distance(std::span<const float> a, std::span<const float> b) const {
    double dot = 0, difference = 0;
    for (std::size_t d = 0; d < dim_; ++d) {
      dot += static_cast<double>(a[d]) * b[d];
      difference += (static_cast<double>(a[d]) - b[d]) * (static_cast<double>(a[d]) - b[d]);
    }
    if (metric_ == Metric::kL2) return difference;
    if (metric_ == Metric::kInnerProduct) return 1 - dot;
    return 1 - dot / std::sqrt(squared_length(a) * squared_length(b));
  }
  /// How far rounding may take float's distance from that.
  double tolerance(std::span<const float> a, std::span<const float> b) const {
    const double scale = metric_ == Metric::kCosine ? 2 : 1 + squared_length(a) + squared_length(b);
    return 1e-5 * scale;
  }

 private:
  Metric metric_;
  std::size_t dim_;
  std::map<Id, std::vector<float>> vectors_;
};

struct Rows {
  Matrix vectors;
  std::vector<Id> ids;
  std::span<const float> row(std::size_t i) const { return vectors.row_span(i); }
};

/// Up to kMostRows ids, now and then one that no index may take.
std::vector<Id> take_ids(ByteTaker& taker) {
  std::vector<Id> ids(1 + taker.below(kMostRows));
  for (Id& id : ids) {
    const auto byte = taker.number<std::uint8_t>();
    id = byte == 255 ? Id{-1} : static_cast<Id>(byte) % kIds;
  }
  return ids;
}

Rows take_rows(ByteTaker& taker, std::size_t dim) {
  Rows rows{{}, take_ids(taker)};
  rows.vectors = Matrix(rows.ids.size(), dim);
  for (std::size_t i = 0; i < rows.ids.size(); ++i) {
    for (std::size_t d = 0; d < dim; ++d) {
      rows.vectors.row(i)[d] = value_of(taker.number<std::uint8_t>());
    }
  }
  return rows;
}

/// Every reason there is to refuse the rows; a call may name any one of them.
std::set<ErrorCode> reasons(const PlainIndex& model, const Rows& rows, bool must_live) {
  std::set<ErrorCode> found;
  std::set<Id> seen;
  for (std::size_t i = 0; i < rows.ids.size(); ++i) {
    const Id id = rows.ids[i];
    if (!seen.insert(id).second) found.insert(ErrorCode::kDuplicateId);
    if (must_live && !model.contains(id)) found.insert(ErrorCode::kUnknownId);
    if (!must_live && model.contains(id)) found.insert(ErrorCode::kDuplicateId);
    if (id < 0) found.insert(ErrorCode::kInvalidArgument);
    if (const ErrorCode code = model.judge(rows.row(i)); code != ErrorCode::kInternal) {
      found.insert(code);
    }
  }
  return found;
}

void expect_outcome(ErrorCode code, const std::set<ErrorCode>& reasons) {
  check(reasons.empty() ? code == ErrorCode::kInternal : reasons.contains(code),
        "a call was refused, or let through, for another reason than its arguments");
}

class LiveRun {
 public:
  LiveRun(Metric metric, std::size_t dim) : model_(metric, dim), dim_(dim) {
    options_.build.metric = metric;
    options_.build.M = 3;
    options_.build.ef_construction = 10;
    options_.scanned_tail = 4;
    options_.background = false;
    live_ = std::make_unique<LiveIndex>(dim, options_);
  }

  void step(ByteTaker& taker) {
    switch (taker.below(8)) {
      case 0:
      case 1:
        return add(take_rows(taker, dim_));
      case 2:
        return update(take_rows(taker, dim_));
      case 3:
      case 4:
        return remove(take_ids(taker));
      case 5:
        return seal((taker.number<std::uint8_t>() & 1U) != 0);
      default:
        return search(taker);
    }
  }
  void expect_model() const {
    const LiveView view = live_->view();
    check(view.size() == model_.size(), "another number of vectors lives");
    for (Id id = 0; id < kIds; ++id) {
      check(view.contains(id) == model_.contains(id), "other ids live");
    }
  }

 private:
  void add(const Rows& rows) {
    const ErrorCode code = outcome([&] { live_->add(rows.vectors, rows.ids); });
    expect_outcome(code, reasons(model_, rows, false));
    if (code == ErrorCode::kInternal) put(rows);
  }
  void update(const Rows& rows) {
    const ErrorCode code = outcome([&] { live_->update(rows.vectors, rows.ids); });
    expect_outcome(code, reasons(model_, rows, true));
    if (code == ErrorCode::kInternal) put(rows);
  }
  void put(const Rows& rows) {
    for (std::size_t i = 0; i < rows.ids.size(); ++i) model_.put(rows.ids[i], rows.row(i));
  }
  void remove(const std::vector<Id>& ids) {
    const std::set<Id> unique(ids.begin(), ids.end());
    const bool known =
        unique.size() == ids.size() &&
        std::all_of(ids.begin(), ids.end(), [&](Id id) { return model_.contains(id); });
    const ErrorCode code = outcome([&] { live_->remove(ids); });
    check(code == (known ? ErrorCode::kInternal : ErrorCode::kUnknownId), "a removal went wrong");
    if (!known) return;
    for (const Id id : ids) model_.remove(id);
  }
  void seal(bool reload) {
    const auto snapshot = live_->seal(executor_);
    check((snapshot == nullptr) == (model_.size() == 0), "a seal lost or invented vectors");
    if (!snapshot) return;
    check(snapshot->size() == model_.size(), "a sealed index of another size");
    if (!reload) return;
    MemoryFileSystem memory;
    io::BundleWriter writer;
    io::write_snapshot(writer, *snapshot);
    writer.write("file", {}, memory);
    live_ = std::make_unique<LiveIndex>(
        io::read_snapshot(io::BundleReader("file", io::BundleReader::Check::kEverything, memory)),
        options_);
  }
  void search(ByteTaker& taker) const {
    LiveSearchOptions options;
    options.k = 1 + taker.below(12);
    options.ef = 1 + taker.below(16);
    const auto keep = taker.number<std::uint8_t>();
    const auto passes = [keep](Id id) { return keep < 128 || id % 3 != 0; };
    if (keep >= 128) options.filter = passes;
    std::vector<float> query(dim_);
    for (float& x : query) x = value_of(taker.number<std::uint8_t>());
    for (const bool exact : {false, true}) expect_answer(query, options, passes, exact);
  }
  template <class Passes>
  void expect_answer(const std::vector<float>& query, const LiveSearchOptions& options,
                     const Passes& passes, bool exact) const {
    LiveScratch scratch;
    std::vector<LiveNeighbour> out(options.k);
    const LiveView view = live_->view();
    const ErrorCode code = outcome([&] {
      out.resize(exact ? view.exact_search(query, options, scratch, out)
                       : view.search(query, options, scratch, out));
    });
    check(code == model_.judge(query), "a query was judged wrongly");
    if (code != ErrorCode::kInternal) return;
    std::vector<std::pair<double, double>> nearest;  // distance, tolerance
    for (const auto& [id, vector] : model_.vectors()) {
      if (!passes(id)) continue;
      nearest.emplace_back(model_.distance(query, vector), model_.tolerance(query, vector));
    }
    std::sort(nearest.begin(), nearest.end());
    check(out.size() == std::min(options.k, nearest.size()), "another number of results");
    std::set<Id> seen;
    for (std::size_t i = 0; i < out.size(); ++i) {
      check(model_.contains(out[i].id) && passes(out[i].id) && seen.insert(out[i].id).second,
            "a result that does not live, does not pass, or comes twice");
      const auto& vector = model_.vectors().at(out[i].id);
      const double tolerance = model_.tolerance(query, vector);
      check(std::abs(out[i].distance - model_.distance(query, vector)) <= tolerance,
            "a result with another vector's distance");
      check(i == 0 || out[i - 1].distance <= out[i].distance, "results out of order");
      check(!exact || std::abs(out[i].distance - nearest[i].first) <= tolerance + nearest[i].second,
            "exact search missed a nearer vector");
    }
  }

  PlainIndex model_;
  std::size_t dim_;
  LiveOptions options_;
  Executor executor_{1};
  std::unique_ptr<LiveIndex> live_;
};

class BuilderRun {
 public:
  BuilderRun(Metric metric, std::size_t dim)
      : model_(metric, dim), dim_(dim), index_(dim, options(metric)) {}

  void step(ByteTaker& taker) {
    switch (taker.below(4)) {
      case 0:
      case 1: {
        const Rows rows = take_rows(taker, dim_);
        const ErrorCode code = outcome([&] { index_.add(rows.vectors, rows.ids, executor_); });
        expect_outcome(code, reasons(model_, rows, false));
        if (code != ErrorCode::kInternal) return;
        for (std::size_t i = 0; i < rows.ids.size(); ++i) model_.put(rows.ids[i], rows.row(i));
        return;
      }
      case 2:
        return static_cast<void>(sealed());
      default:
        if (const auto snapshot = sealed())
          index_ = VectorIndex::resume(*snapshot, executor_, true);
    }
  }
  void expect_model() const {
    check(index_.size() == model_.size(), "another number of vectors");
    for (Id id = 0; id < kIds; ++id) {
      check(index_.contains(id) == model_.contains(id), "other ids are there");
    }
  }

 private:
  static BuildOptions options(Metric metric) {
    BuildOptions options;
    options.metric = metric;
    options.M = 2;
    options.ef_construction = 5;
    options.deterministic = true;
    return options;
  }
  /// Every vector is in the snapshot, and reachable: a search as wide as the index finds them all.
  std::shared_ptr<const GraphSnapshot> sealed() const {
    if (model_.size() == 0) {
      check(outcome([&] { index_.seal(executor_); }) == ErrorCode::kEmpty, "nothing was sealed");
      return nullptr;
    }
    const auto snapshot = index_.seal(executor_);
    check(snapshot->size() == model_.size(), "a snapshot of another size");
    SearchScratch scratch;
    std::vector<Neighbour> out(snapshot->size());
    SearchOptions search_options{snapshot->size(), snapshot->size(), {}};
    const std::size_t found =
        search(*snapshot, model_.vectors().begin()->second, search_options, scratch, out);
    check(found == model_.size(), "a vector cannot be reached");
    for (const Id id : snapshot->ids()) check(model_.contains(id), "a snapshot of other ids");
    return snapshot;
  }

  PlainIndex model_;
  std::size_t dim_;
  Executor executor_{1};
  VectorIndex index_;
};

template <class Run>
void run(Run&& state, ByteTaker& taker) {
  while (!taker.empty()) state.step(taker);
  state.expect_model();
}

}  // namespace

void fuzz_operations(Input input) {
  ByteTaker taker(input.first(std::min<std::size_t>(input.size(), 2000)));
  constexpr Metric kMetrics[] = {Metric::kL2, Metric::kInnerProduct, Metric::kCosine};
  const bool live = taker.below(4) != 0;
  const Metric metric = kMetrics[taker.below(3)];
  const std::size_t dim = 1 + taker.below(5);
  if (live) {
    run(LiveRun(metric, dim), taker);
  } else {
    run(BuilderRun(metric, dim), taker);
  }
}

}  // namespace halo::fuzz
