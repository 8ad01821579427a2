#include "halo/index/detail/choose_codes.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

#include "halo/core/error.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/row_scorer.h"
#include "halo/index/detail/scan.h"
#include "halo/index/snapshot_search.h"

namespace halo::detail {
namespace {

constexpr std::size_t kNeighbours = 10;

// Row `i` of `count` evenly spaced ones.
std::size_t spaced(std::size_t i, std::size_t count, std::size_t n) { return i * n / count; }

// Up to `wanted` evenly spaced vectors as the metric stores them; empty where one cannot be stored.
Matrix stored_sample(Metric metric, const MatrixView& vectors, std::size_t wanted) {
  const std::size_t count = std::min(vectors.rows, wanted);
  Matrix sample = Matrix::padded(count, vectors.cols);
  for (std::size_t i = 0; i < count; ++i) {
    if (!try_store(metric, vectors.row(spaced(i, count, vectors.rows)), vectors.cols,
                   sample.row(i))) {
      return {};
    }
  }
  return sample;
}

// The nearest rows to row `q` but itself, by a scorer, ascending by row.
std::vector<Node> nearest_rows(const RowScorer& score, std::size_t n, Node q) {
  std::vector<Node> rows;
  for (Node i = 0; i < n; ++i) {
    if (i != q) rows.push_back(i);
  }
  std::vector<float> distances(rows.size());
  score(rows.data(), rows.size(), distances.data());
  std::vector<Neighbour> heap;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    offer(heap, kNeighbours, {distances[i], rows[i]});
  }
  std::vector<Node> nearest;
  for (const Neighbour& neighbour : heap) nearest.push_back(neighbour.node);
  std::sort(nearest.begin(), nearest.end());
  return nearest;
}

std::size_t common(std::span<const Node> a, std::span<const Node> b) {
  std::vector<Node> both;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(both));
  return both.size();
}

// The share of a sample's nearest neighbours within the sample that int8 codes agree on.
double int8_agreement(Metric metric, const MatrixView& sample, const Executor& executor) {
  constexpr std::size_t kQueries = 100;
  const std::size_t queries = std::min(kQueries, sample.rows);
  const VectorCodes codes = VectorCodes::encode(CodeKind::kInt8, metric, sample);
  std::atomic<std::size_t> hits{0}, all{0};
  executor.parallel_for(queries, 10, [&](std::size_t begin, std::size_t end) {
    QueryBuffer buffer;
    for (std::size_t i = begin; i < end; ++i) {
      const std::size_t row = spaced(i, queries, sample.rows);
      const auto q = static_cast<Node>(row);
      const auto exact = nearest_rows(f32_scorer(metric, sample, sample.row(row)), sample.rows, q);
      const auto coded = nearest_rows(
          code_scorer(metric, codes, sample.cols, sample.row(row), buffer), sample.rows, q);
      hits += common(exact, coded);
      all += exact.size();
    }
  });
  return all == 0 ? 0.0 : static_cast<double>(hits) / static_cast<double>(all);
}

// The recall of `found` as sets of nodes, the query's own node left out of both.
double recall_without_self(const SearchResults& found, const SearchResults& truth,
                           std::span<const Node> self) {
  const auto others = [&](std::span<const Neighbour> results, Node own) {
    std::vector<Node> nodes;
    for (const Neighbour& result : results) {
      if (result.node != own && nodes.size() < kNeighbours) nodes.push_back(result.node);
    }
    std::sort(nodes.begin(), nodes.end());
    return nodes;
  };
  std::size_t hits = 0, all = 0;
  for (std::size_t q = 0; q < self.size(); ++q) {
    const auto expected = others(truth.of(q), self[q]);
    hits += common(expected, others(found.of(q), self[q]));
    all += expected.size();
  }
  return all == 0 ? 1.0 : static_cast<double>(hits) / static_cast<double>(all);
}

}  // namespace

CodeKind choose_link_codes(Metric metric, const MatrixView& vectors, const Executor& executor) {
  constexpr std::size_t kSample = 2000;
  constexpr double kLeastAgreement = 0.85;
  if (vectors.rows < kFewestCodedVectors) return CodeKind::kF32;
  if (metric == Metric::kL2 && Int8Quantiser::lossless_for(vectors)) return CodeKind::kInt8;
  const Matrix sample = stored_sample(metric, vectors, kSample);
  if (sample.empty()) return CodeKind::kF32;
  return int8_agreement(metric, sample, executor) >= kLeastAgreement ? CodeKind::kInt8
                                                                     : CodeKind::kF32;
}

CodeKind choose_search_codes(const GraphSnapshot& snapshot, const Executor& executor,
                             const Job& job) {
  constexpr std::size_t kQueries = 400;
  const std::size_t n = snapshot.size();
  if (n < kFewestCodedVectors) return CodeKind::kF32;
  std::shared_ptr<const GraphSnapshot> coded = snapshot.with_codes(CodeKind::kInt8);
  if (coded->codes().lossless()) return CodeKind::kInt8;

  Matrix queries(kQueries, snapshot.dim());
  std::vector<Node> self(kQueries);
  for (std::size_t q = 0; q < kQueries; ++q) {
    self[q] = static_cast<Node>(spaced(q, kQueries, n));
    std::copy_n(snapshot.vector(self[q]).data(), snapshot.dim(), queries.row(q));
  }
  const Job quiet{nullptr, job.stop};
  const auto search_at = [&](const GraphSnapshot& index, std::size_t ef) {
    SearchOptions options;
    options.k = kNeighbours + 1;
    options.ef = ef;
    return search_batch(index, queries, options, executor, quiet);
  };
  const auto plain = snapshot.with_codes(CodeKind::kF32);
  const SearchResults truth = search_at(*plain, 512);
  for (const CodeKind kind : {CodeKind::kInt8, CodeKind::kBf16}) {
    if (kind != CodeKind::kInt8) coded = snapshot.with_codes(kind);
    bool keeps = true;
    for (const std::size_t ef : {16U, 64U, 128U}) {
      const double exact = recall_without_self(search_at(*plain, ef), truth, self);
      keeps &= recall_without_self(search_at(*coded, ef), truth, self) >= exact - kMostRecallLost;
    }
    if (keeps) return kind;
  }
  return CodeKind::kF32;
}

}  // namespace halo::detail
