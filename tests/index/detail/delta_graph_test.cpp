#include "halo/index/detail/delta_graph.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <new>
#include <set>
#include <thread>
#include <vector>

#include "halo/core/published.h"
#include "halo/index/detail/metric_distance.h"
#include "halo/index/detail/scan.h"
#include "halo/index/exact_search.h"
#include "halo/index/recall.h"
#include "index/index_fixtures.h"
#include "support/failing_allocator.h"

namespace halo::detail {
namespace {

DeltaOptions options_for(Metric metric, std::size_t dim) {
  DeltaOptions options;
  options.metric = metric;
  options.dim = dim;
  options.M = 8;
  options.ef_construction = 40;
  return options;
}

Matrix stored(const MatrixView& vectors, Metric metric) {
  Matrix out = Matrix::padded(vectors.rows, vectors.cols);
  for (std::size_t i = 0; i < vectors.rows; ++i) {
    store_row(metric, vectors.row(i), vectors.cols, "vector", i, out.row(i));
  }
  return out;
}

constexpr std::size_t kRoom = 4096;

std::vector<Node> nearest(const DeltaGraph& delta, const DeltaMark& mark, const float* query,
                          std::size_t ef, std::size_t k) {
  DeltaScratch scratch;
  delta.search(mark, query, k, ef, {}, 1, scratch);
  std::sort(scratch.nearest.begin(), scratch.nearest.end(), nearer);
  std::vector<Node> rows;
  for (const Neighbour& found : scratch.nearest) {
    if (rows.size() < k) rows.push_back(found.node);
  }
  return rows;
}

std::vector<Node> brute_force(const MatrixView& rows, const float* query, Metric metric,
                              std::size_t k) {
  const MetricDistance distance(metric, rows.stride);
  std::vector<Neighbour> all;
  for (std::size_t i = 0; i < rows.rows; ++i) {
    all.push_back({distance(query, rows.row(i)), static_cast<Node>(i)});
  }
  std::sort(all.begin(), all.end(), nearer);
  std::vector<Node> nodes;
  for (std::size_t i = 0; i < std::min(k, all.size()); ++i) nodes.push_back(all[i].node);
  return nodes;
}

TEST(DeltaGraph, TheTailIsExact) {
  const Matrix data = test::random_matrix(60, 7, 1);
  DeltaGraph delta(options_for(Metric::kL2, 7), kRoom);
  for (std::size_t i = 0; i < 60; ++i) delta.append(data.row(i), static_cast<Id>(i) * 3);
  for (std::size_t q = 0; q < 60; ++q) {
    EXPECT_EQ(nearest(delta, delta.mark(), data.row(q), 10, 10),
              brute_force(data, data.row(q), Metric::kL2, 10));
  }
  EXPECT_EQ(delta.id(20), 60);
}

TEST(DeltaGraph, LinkedRowsAreFoundAcrossChunks) {
  for (const Metric metric : test::kMetrics) {
    const Matrix data = stored(test::clustered_matrix(3000, 20, 25, 0.6F, 2), metric);
    const Matrix queries = stored(test::clustered_matrix(100, 20, 25, 0.6F, 3), metric);
    DeltaGraph delta(options_for(metric, 20), kRoom);
    for (std::size_t i = 0; i < 3000; ++i) {
      delta.append(data.row(i), static_cast<Id>(i));
      if (delta.mark().rows - delta.mark().linked > 50) delta.link_next();
    }
    EXPECT_EQ(delta.mark().linked, 2950U);
    std::size_t hits = 0;
    for (std::size_t q = 0; q < 100; ++q) {
      const auto truth = brute_force(data, queries.row(q), metric, 10);
      for (const Node row : nearest(delta, delta.mark(), queries.row(q), 60, 10)) {
        hits += static_cast<std::size_t>(std::count(truth.begin(), truth.end(), row));
      }
    }
    BuildOptions build = test::build_options(metric);
    build.ef_construction = 40;
    const auto peer = test::snapshot_of(data, build);
    SearchOptions options;
    options.ef = 60;
    const double theirs = recall_at(10, search_batch(*peer, queries, options, Executor(1)),
                                    exact_search_batch(*peer, queries, options, Executor(1)));
    EXPECT_GT(static_cast<double>(hits) / 1000, theirs - 0.04) << metric_name(metric);
    // Every row finds itself.
    std::size_t found = 0;
    for (std::size_t i = 0; i < 3000; ++i) {
      if (metric == Metric::kInnerProduct) break;  // there a longer vector is nearer
      const auto own = nearest(delta, delta.mark(), data.row(i), 20, 1);
      found += own.front() == i ? 1 : 0;
    }
    if (metric != Metric::kInnerProduct) {
      EXPECT_GT(found, 2990U) << metric_name(metric);
    }
  }
}

TEST(DeltaGraph, AMarkSeesNothingNewer) {
  const Matrix data = test::random_matrix(400, 5, 4);
  DeltaGraph delta(options_for(Metric::kL2, 5), kRoom);
  DeltaMark early;
  for (std::size_t i = 0; i < 400; ++i) {
    delta.append(data.row(i), static_cast<Id>(i));
    if (i >= 20) delta.link_next();
    if (i == 199) early = delta.mark();
  }
  for (std::size_t q = 0; q < 400; ++q) {
    for (const Node row : nearest(delta, early, data.row(q), 30, 30)) EXPECT_LT(row, 200U);
  }
}

TEST(DeltaGraph, OnlyAllowedRowsAreReturned) {
  const Matrix data = test::clustered_matrix(500, 6, 4, 0.4F, 5);
  DeltaGraph delta(options_for(Metric::kL2, 6), kRoom);
  for (std::size_t i = 0; i < 500; ++i) {
    delta.append(data.row(i), static_cast<Id>(i));
    if (i > 20) delta.link_next();
  }
  const auto allows = [](Node row) { return row % 10 == 7; };
  DeltaScratch walked, scanned;
  delta.scan(delta.mark(), data.row(3), 50, allows, scanned);
  EXPECT_EQ(scanned.nearest.size(), 50U);
  for (const Neighbour& found : scanned.nearest) EXPECT_EQ(found.node % 10, 7U);
  // Also where the caller thought that all are allowed, and most.
  for (const double share : {0.0, 0.1, 0.6, 1.0}) {
    delta.search(delta.mark(), data.row(3), 50, 50, allows, share, walked);
    std::sort(walked.nearest.begin(), walked.nearest.end(), nearer);
    EXPECT_EQ(walked.nearest, scanned.nearest) << share;
  }
}

TEST(DeltaGraph, ALargerCopyGoesOn) {
  const Matrix data = test::clustered_matrix(600, 6, 4, 0.4F, 15);
  for (const CodeKind codes : {CodeKind::kF32, CodeKind::kBf16, CodeKind::kInt8}) {
    DeltaOptions options = options_for(Metric::kL2, 6);
    options.codes = codes;
    if (codes == CodeKind::kInt8) options.quantiser = Int8Quantiser::fit(Metric::kL2, data);
    DeltaGraph whole(options, 600);
    auto grown = std::make_shared<DeltaGraph>(options, 7);
    for (std::size_t i = 0; i < 600; ++i) {
      if (grown->mark().rows == grown->capacity())
        grown = grown->with_capacity(2 * grown->capacity());
      for (DeltaGraph* delta : {&whole, grown.get()}) {
        delta->append(data.row(i), static_cast<Id>(i));
        if (i > 5) delta->link_next();
      }
    }
    for (std::size_t q = 0; q < 600; q += 7) {
      EXPECT_EQ(nearest(whole, whole.mark(), data.row(q), 20, 10),
                nearest(*grown, grown->mark(), data.row(q), 20, 10));
    }
  }
}

// Distances are exact whatever the walk reads.
TEST(DeltaGraph, CodesKeepTheRecall) {
  const Matrix data = test::clustered_matrix(2000, 24, 20, 0.8F, 16);
  const Matrix queries = test::clustered_matrix(100, 24, 20, 0.8F, 17);
  for (const CodeKind codes : {CodeKind::kBf16, CodeKind::kInt8}) {
    DeltaOptions options = options_for(Metric::kL2, 24);
    DeltaGraph plain(options, kRoom);
    options.codes = codes;
    if (codes == CodeKind::kInt8) options.quantiser = Int8Quantiser::fit(Metric::kL2, data);
    DeltaGraph coded(options, kRoom);
    for (std::size_t i = 0; i < 2000; ++i) {
      for (DeltaGraph* delta : {&plain, &coded}) {
        delta->append(data.row(i), static_cast<Id>(i));
        if (i > 50) delta->link_next();
      }
    }
    std::size_t hits[2] = {0, 0};
    for (std::size_t q = 0; q < 100; ++q) {
      const auto truth = brute_force(data, queries.row(q), Metric::kL2, 10);
      for (const bool with_codes : {false, true}) {
        const DeltaGraph& delta = with_codes ? coded : plain;
        for (const Node row : nearest(delta, delta.mark(), queries.row(q), 40, 10)) {
          hits[with_codes] += static_cast<std::size_t>(std::count(truth.begin(), truth.end(), row));
        }
      }
    }
    EXPECT_GT(hits[1] + 15, hits[0]) << code_kind_name(codes);
  }
}

TEST(DeltaGraph, TruncatedRowsAreGone) {
  const Matrix data = test::random_matrix(30, 4, 6);
  DeltaGraph delta(options_for(Metric::kL2, 4), kRoom);
  for (std::size_t i = 0; i < 20; ++i) delta.append(data.row(i), static_cast<Id>(i));
  delta.truncate(5);
  for (std::size_t i = 20; i < 30; ++i) delta.append(data.row(i), static_cast<Id>(i));
  ASSERT_EQ(delta.mark().rows, 15U);
  EXPECT_EQ(delta.id(5), 20);
  EXPECT_EQ(nearest(delta, delta.mark(), data.row(29), 5, 1), std::vector<Node>{14});
}

TEST(DeltaGraph, AFailedAllocationChangesNothing) {
  const Matrix data = test::clustered_matrix(300, 8, 5, 0.5F, 7);
  DeltaGraph failing(options_for(Metric::kL2, 8), kRoom), plain(options_for(Metric::kL2, 8), kRoom);
  std::size_t failures = 0;
  for (std::size_t i = 0; i < 300; ++i) {
    plain.append(data.row(i), static_cast<Id>(i));
    plain.link_next();
    failing.append(data.row(i), static_cast<Id>(i));
    for (std::size_t after = 0;; ++after) {
      const test::FailingAllocations allocations(after);
      try {
        failing.link_next();
        break;
      } catch (const std::bad_alloc&) {
        ++failures;
      }
    }
    ASSERT_EQ(failing.mark().linked, i + 1);
  }
  EXPECT_GT(failures, 20U);
  for (std::size_t q = 0; q < 300; ++q) {
    EXPECT_EQ(nearest(failing, failing.mark(), data.row(q), 20, 20),
              nearest(plain, plain.mark(), data.row(q), 20, 20));
  }
}

TEST(DeltaGraph, ReadersFollowAWriter) {
  constexpr std::size_t kRows = 2500;
  const Matrix data = test::clustered_matrix(kRows, 8, 10, 0.5F, 8);
  DeltaGraph delta(options_for(Metric::kL2, 8), kRoom);
  Published<DeltaMark> marks(std::make_shared<const DeltaMark>());
  std::atomic<bool> done{false};
  std::atomic<int> wrong{0};
  std::vector<std::thread> readers;
  for (std::size_t t = 0; t < 3; ++t) {
    readers.emplace_back([&, t] {
      DeltaScratch scratch;
      for (std::size_t q = t; !done; q = (q + 7) % kRows) {
        const auto mark = marks.load();
        delta.search(*mark, data.row(q), 20, 20, {}, 1, scratch);
        for (const Neighbour& found : scratch.nearest) {
          if (found.node >= mark->rows) ++wrong;
          if (delta.id(found.node) != static_cast<Id>(found.node)) ++wrong;
        }
        if (scratch.nearest.size() < std::min<std::size_t>(20, mark->rows - mark->linked)) ++wrong;
      }
    });
  }
  for (std::size_t i = 0; i < kRows; ++i) {
    delta.append(data.row(i), static_cast<Id>(i));
    if (i > 30) delta.link_next();
    marks.publish(std::make_unique<Published<DeltaMark>::Cell>(
        std::make_shared<const DeltaMark>(delta.mark())));
  }
  done = true;
  for (auto& reader : readers) reader.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace halo::detail
