#include "halo/integration/train_data.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>

#include "halo/core/error.h"
#include "halo/core/kernels/vector_ops.h"
#include "halo/core/random.h"
#include "halo/gnn/class_posteriors.h"
#include "halo/integration/refine.h"
#include "halo/integration/train.h"

namespace halo {
namespace {

constexpr std::size_t kMostHeldOut = 1000;
constexpr std::size_t kFewestHeldOut = 5;  // in all folds
constexpr double kEnoughHeldOut = 200;     // in all folds, where the data has as many
constexpr std::size_t kMostRows = 20000;   // of the pool, in which metrics are compared

Matrix gather(const MatrixView& from, std::span<const std::uint32_t> rows) {
  Matrix out = Matrix::padded(rows.size(), from.cols);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    std::copy_n(from.row(rows[i]), from.cols, out.row(i));
  }
  return out;
}

Matrix as_refinement_sees(Matrix rows, bool unit) {
  if (unit) {
    for (std::size_t i = 0; i < rows.rows(); ++i) kernels::normalise(rows.row(i), rows.cols());
  }
  return rows;
}

// In an order that depends on the seed alone.
template <class T>
void shuffle(std::vector<T>& items, std::uint64_t seed) {
  Random random(seed, 0x5eed);
  for (std::size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[random.below(i)]);
}

// How many of the items each fold holds out.
std::size_t held_out_count(std::size_t items, const SplitOptions& options,
                           const std::string& of_what) {
  const auto wanted = static_cast<std::size_t>(options.fraction * static_cast<double>(items));
  if (wanted * options.folds < kFewestHeldOut) {
    throw Error(ErrorCode::kEmpty, std::to_string(items) + " " + of_what +
                                       " are too few: " + std::to_string(kFewestHeldOut) +
                                       " are held out to judge by");
  }
  return std::min(wanted, kMostHeldOut);
}

// The first `count` of what follows in the order, once the folds before have taken theirs.
template <class T>
void take_fold(std::vector<T>& order, std::size_t count, const SplitOptions& options) {
  const std::size_t begin = count * options.fold % order.size();
  std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(begin), order.end());
  order.resize(count);
}

void fill_pool(const GraphSnapshot& snapshot, std::vector<std::uint32_t> pool,
               TrainingSplit& split) {
  std::sort(pool.begin(), pool.end());
  for (const std::uint32_t node : pool) split.pool_ids.push_back(snapshot.id(node));
  split.pool_rows = gather(split.base_rows, pool);
}

void split_labels(const GraphSnapshot& snapshot, const TrainingData& data,
                  const SplitOptions& options, TrainingSplit& split) {
  if (data.labels.size() != snapshot.size()) {
    throw Error(ErrorCode::kInvalidArgument, std::to_string(data.labels.size()) + " labels for " +
                                                 std::to_string(snapshot.size()) + " vectors");
  }
  split.all_labels = classes_of(data.labels, split.num_classes);
  split.training_labels = split.all_labels;
  std::vector<std::uint32_t> labelled, queries;
  for (std::uint32_t node = 0; node < snapshot.size(); ++node) {
    if (split.all_labels[node] != gnn::kNoClass) labelled.push_back(node);
  }
  // By id: where a node lies may depend on how the index was built.
  std::sort(labelled.begin(), labelled.end(),
            [&](std::uint32_t a, std::uint32_t b) { return snapshot.id(a) < snapshot.id(b); });
  std::vector<std::uint32_t> order = labelled;
  shuffle(order, options.seed);
  if (options.unseen_classes) {
    std::vector<std::uint32_t> classes(split.num_classes);
    for (std::uint32_t c = 0; c < classes.size(); ++c) classes[c] = c;
    shuffle(classes, options.seed + 1);
    const auto held_out = options.fraction * static_cast<double>(classes.size());
    if (!classes.empty()) {
      take_fold(classes, std::max<std::size_t>(1, static_cast<std::size_t>(held_out)), options);
    }
    std::sort(classes.begin(), classes.end());
    std::erase_if(order, [&](std::uint32_t node) {
      return !std::binary_search(classes.begin(), classes.end(), split.all_labels[node]);
    });
    for (const std::uint32_t node : order) split.training_labels[node] = gnn::kNoClass;
    queries = order;
    queries.resize(std::min(queries.size(), kMostHeldOut));
  } else {
    take_fold(order, held_out_count(order.size(), options, "labelled vectors"), options);
    for (const std::uint32_t node : order) split.training_labels[node] = gnn::kNoClass;
    queries = order;
  }
  std::sort(queries.begin(), queries.end());

  split.rows = gather(split.base_rows, labelled);
  split.row_nodes = labelled;
  for (std::uint32_t i = 0; i < labelled.size(); ++i) {
    const std::uint32_t label = split.all_labels[labelled[i]];
    const bool shown = split.training_labels[labelled[i]] != gnn::kNoClass;
    (shown ? split.training : split.held_out).push_back({i, label});
  }
  split.validation_queries = gather(snapshot.vectors(), queries);
  split.unit_queries = gather(split.base_rows, queries);

  // Judged among the labelled vectors: all of them, or evenly spaced ones beside the held-out.
  std::vector<std::uint32_t> pool;
  const std::size_t step = (labelled.size() + kMostRows - 1) / kMostRows;
  for (std::size_t i = 0; i < labelled.size(); i += step) pool.push_back(labelled[i]);
  fill_pool(snapshot, pool, split);
  split.filter = Filter::of_ids(snapshot, split.pool_ids);
  std::vector<std::vector<Id>> members(split.num_classes);
  for (const std::uint32_t node : pool) {
    members[split.all_labels[node]].push_back(snapshot.id(node));
  }
  std::vector<io::Judgement> judgements;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    const Id self = snapshot.id(queries[q]);
    split.self_ids.push_back(self);
    for (const Id id : members[split.all_labels[queries[q]]]) {
      if (id != self) judgements.push_back({q, id, 1});
    }
  }
  split.relevance = Relevance::from_judgements(judgements, queries.size());
}

void split_judgements(const GraphSnapshot& snapshot, const TrainingData& data,
                      const SplitOptions& options, bool unit, TrainingSplit& split) {
  validate_queries(snapshot, data.queries);
  std::map<std::size_t, std::vector<std::uint32_t>> relevant;
  for (const io::Judgement& judgement : data.judgements) {
    if (judgement.query >= data.queries.rows) {
      throw Error(ErrorCode::kUnknownId, "judged query " + std::to_string(judgement.query) +
                                             " of " + std::to_string(data.queries.rows));
    }
    const auto node = snapshot.find(judgement.id);
    if (!node) {
      throw Error(ErrorCode::kUnknownId,
                  "judged id " + std::to_string(judgement.id) + " is not in the index");
    }
    if (judgement.grade > 0) relevant[judgement.query].push_back(*node);
  }
  std::vector<std::uint32_t> order;
  for (const auto& [query, nodes] : relevant) order.push_back(static_cast<std::uint32_t>(query));
  const std::size_t held_out = held_out_count(order.size(), options, "judged queries");
  shuffle(order, options.seed);
  std::vector<std::uint32_t> queries = order;
  take_fold(queries, held_out, options);
  std::sort(queries.begin(), queries.end());

  // Rows: the judged queries, then every vector that is relevant to one of them.
  std::vector<std::uint32_t> judged, nodes;
  for (const auto& [query, documents] : relevant) {
    judged.push_back(static_cast<std::uint32_t>(query));
    nodes.insert(nodes.end(), documents.begin(), documents.end());
  }
  split.judged = judged;
  split.held_out_queries = queries;
  std::sort(nodes.begin(), nodes.end());
  nodes.erase(std::unique(nodes.begin(), nodes.end()), nodes.end());
  split.rows = Matrix::padded(judged.size() + nodes.size(), snapshot.dim());
  const Matrix judged_rows = as_refinement_sees(gather(data.queries, judged), unit);
  for (std::size_t i = 0; i < split.rows.rows(); ++i) {
    const float* from =
        i < judged.size() ? judged_rows.row(i) : split.base_rows.row(nodes[i - judged.size()]);
    std::copy_n(from, snapshot.dim(), split.rows.row(i));
  }
  split.row_nodes.assign(judged.size(), gnn::kNoNode);
  split.row_nodes.insert(split.row_nodes.end(), nodes.begin(), nodes.end());
  for (std::uint32_t i = 0; i < judged.size(); ++i) {
    auto& examples = std::binary_search(queries.begin(), queries.end(), judged[i]) ? split.held_out
                                                                                   : split.training;
    examples.push_back({i, i});
    for (const std::uint32_t node : relevant.at(judged[i])) {
      const auto place = std::lower_bound(nodes.begin(), nodes.end(), node) - nodes.begin();
      examples.push_back(
          {static_cast<std::uint32_t>(judged.size() + static_cast<std::size_t>(place)), i});
    }
  }
  split.validation_queries = gather(data.queries, queries);
  split.unit_queries = as_refinement_sees(gather(data.queries, queries), unit);
  split.self_ids.assign(queries.size(), Id{-1});
  std::vector<std::uint32_t> pool(snapshot.size());
  for (std::uint32_t node = 0; node < pool.size(); ++node) pool[node] = node;
  fill_pool(snapshot, std::move(pool), split);
  std::vector<io::Judgement> judgements;
  for (std::size_t q = 0; q < queries.size(); ++q) {
    for (const std::uint32_t node : relevant.at(queries[q])) {
      judgements.push_back({q, snapshot.id(node), 1});
    }
  }
  split.relevance = Relevance::from_judgements(judgements, queries.size());
}

}  // namespace

std::vector<std::uint32_t> classes_of(std::span<const std::int64_t> labels, std::size_t& count) {
  std::map<std::int64_t, std::uint32_t> numbers;
  for (const std::int64_t label : labels) {
    if (label >= 0) numbers.emplace(label, 0);
  }
  count = 0;
  for (auto& [label, number] : numbers) number = static_cast<std::uint32_t>(count++);
  std::vector<std::uint32_t> classes;
  classes.reserve(labels.size());
  for (const std::int64_t label : labels) {
    classes.push_back(label < 0 ? gnn::kNoClass : numbers.at(label));
  }
  return classes;
}

std::size_t folds_for(const TrainingData& data, double fraction) {
  std::size_t items = static_cast<std::size_t>(std::count_if(
      data.labels.begin(), data.labels.end(), [](std::int64_t label) { return label >= 0; }));
  std::set<std::size_t> judged;
  for (const io::Judgement& judgement : data.judgements) {
    if (judgement.grade > 0) judged.insert(judgement.query);
  }
  items += judged.size();
  const double held_out =
      std::clamp(fraction * static_cast<double>(items), 1.0, static_cast<double>(kMostHeldOut));
  const auto wanted = static_cast<std::size_t>(std::ceil(kEnoughHeldOut / held_out));
  return std::min(wanted, static_cast<std::size_t>(1.0 / fraction));
}

TrainingSplit split_training_data(const GraphSnapshot& snapshot, const TrainingData& data,
                                  const SplitOptions& options) {
  const bool labels = !data.labels.empty();
  if (labels == (data.queries.rows > 0)) {
    throw Error(ErrorCode::kInvalidArgument, "training needs labels, or queries with judgements");
  }
  TrainingSplit split;
  const bool unit = snapshot.metric() != Metric::kL2;
  split.base_rows = as_refinement_sees(Matrix::copy_of(snapshot.vectors()), unit);
  if (labels) {
    split_labels(snapshot, data, options, split);
  } else {
    split_judgements(snapshot, data, options, unit, split);
  }
  return split;
}

}  // namespace halo
