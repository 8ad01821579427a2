#include "halo/index/search_cursor.h"

#include <gtest/gtest.h>

#include <limits>
#include <set>
#include <vector>

#include "halo/core/random.h"
#include "index/index_fixtures.h"

namespace halo {
namespace {

using test::expect_error;
using test::snapshot_of;

std::shared_ptr<const GraphSnapshot> with_codes(const MatrixView& data, Metric metric,
                                                CodeKind codes) {
  BuildOptions options = test::build_options(metric);
  options.codes = codes;
  return snapshot_of(data, options);
}

// Pages of random lengths until the cursor has no more.
std::vector<Neighbour> all_pages(SearchCursor& cursor, Random& random) {
  std::vector<Neighbour> all;
  for (;;) {
    std::vector<Neighbour> page(1 + random.below(40));
    const std::size_t found = cursor.next(page);
    page.resize(found);
    for (std::size_t i = 1; i < found; ++i) EXPECT_LE(page[i - 1].distance, page[i].distance);
    all.insert(all.end(), page.begin(), page.end());
    EXPECT_EQ(cursor.returned(), all.size());
    if (found == 0) return all;
  }
}

TEST(SearchCursor, PagesHoldEverythingOnce) {
  const Matrix data = test::clustered_matrix(500, 9, 6, 0.5F, 1);
  Random random(2);
  for (const Metric metric : test::kMetrics) {
    for (const CodeKind codes : {CodeKind::kF32, CodeKind::kInt8, CodeKind::kBf16}) {
      const auto snapshot = with_codes(data, metric, codes);
      for (std::size_t q = 0; q < 3; ++q) {
        SearchOptions options;
        options.ef = q == 0 ? 1 : 30;
        SearchCursor cursor(snapshot, data.row_span(q), options);
        const auto all = all_pages(cursor, random);
        std::set<Node> nodes;
        for (const Neighbour& n : all) nodes.insert(n.node);
        EXPECT_EQ(all.size(), 500U);
        EXPECT_EQ(nodes.size(), 500U);
      }
    }
  }
}

// With ef as large as the index there is nothing to miss: pages are the exact order, cut.
TEST(SearchCursor, WideEnoughPagesAreOneExactSearch) {
  const Matrix data = test::clustered_matrix(400, 9, 6, 0.5F, 3);
  const auto snapshot = with_codes(data, Metric::kL2, CodeKind::kF32);
  SearchOptions options;
  options.k = 400;
  options.ef = 400;
  SearchScratch scratch;
  std::vector<Neighbour> whole(400), page(23);
  for (std::size_t q = 0; q < 20; ++q) {
    search(*snapshot, data.row_span(q), options, scratch, whole);
    SearchCursor cursor(snapshot, data.row_span(q), options);
    for (std::size_t at = 0; at < 400; at += 23) {
      const std::size_t found = cursor.next(page);
      ASSERT_EQ(found, std::min<std::size_t>(23, 400 - at));
      for (std::size_t i = 0; i < found; ++i) EXPECT_EQ(page[i], whole[at + i]);
    }
  }
}

// Ten pages find what one search for all of them finds.
TEST(SearchCursor, PagesAreAsGoodAsOneBiggerSearch) {
  const Matrix data = test::clustered_matrix(3000, 24, 30, 1.0F, 4);
  const Matrix queries = test::clustered_matrix(40, 24, 30, 1.0F, 5);
  for (const CodeKind codes : {CodeKind::kF32, CodeKind::kInt8}) {
    const auto snapshot = with_codes(data, Metric::kL2, codes);
    SearchOptions single;
    single.k = 100;
    single.ef = 100 + 32;
    SearchScratch scratch;
    std::vector<Neighbour> whole(100), exact(100), page(10);
    std::size_t paged_hits = 0, single_hits = 0;
    for (std::size_t q = 0; q < queries.rows(); ++q) {
      single.exact_walk = false;
      search(*snapshot, queries.row_span(q), single, scratch, whole);
      SearchOptions full = single;
      full.ef = 3000;
      full.rescore = 3000;
      search(*snapshot, queries.row_span(q), full, scratch, exact);
      std::set<Node> truth;
      for (const Neighbour& n : exact) truth.insert(n.node);
      for (const Neighbour& n : whole) single_hits += truth.count(n.node);
      SearchOptions options;
      options.ef = 32;
      SearchCursor cursor(snapshot, queries.row_span(q), options);
      for (int i = 0; i < 10; ++i) {
        ASSERT_EQ(cursor.next(page), 10U);
        for (const Neighbour& n : page) paged_hits += truth.count(n.node);
      }
    }
    EXPECT_GT(paged_hits + 60, single_hits) << code_kind_name(codes);  // of 4,000
    EXPECT_GT(paged_hits, 3600U);
  }
}

TEST(SearchCursor, OnlyAllowedNodesAndAllOfThem) {
  const Matrix data = test::clustered_matrix(600, 7, 6, 0.5F, 6);
  const auto snapshot = snapshot_of(data);
  Random random(7);
  SearchOptions options;
  options.ef = 20;
  options.filter = Filter::of_predicate([](Node node) { return node % 7 == 3; });
  SearchCursor cursor(snapshot, data.row_span(0), options);
  const auto all = all_pages(cursor, random);
  std::set<Node> nodes;
  for (const Neighbour& n : all) {
    EXPECT_EQ(n.node % 7, 3U);
    nodes.insert(n.node);
  }
  EXPECT_EQ(all.size(), nodes.size());
  EXPECT_EQ(nodes.size(), 86U);
  options.filter = Filter::of_predicate([](Node) { return false; });
  SearchCursor none(snapshot, data.row_span(0), options);
  EXPECT_TRUE(all_pages(none, random).empty());
}

// What no link leads to is found in the end.
TEST(SearchCursor, UnreachableNodesComeToo) {
  const auto whole = snapshot_of(test::random_matrix(60, 4, 8));
  SnapshotParts parts = test::copy_parts(*whole);
  for (LayerLinks& layer : parts.layers) {
    layer.neighbours.clear();
    layer.row_offsets.assign(layer.nodes.size() + 1, 0);
  }
  const auto snapshot = GraphSnapshot::create(std::move(parts));
  Random random(9);
  SearchCursor cursor(snapshot, whole->vector(5), {});
  EXPECT_EQ(all_pages(cursor, random).size(), 60U);
}

TEST(SearchCursor, Errors) {
  const auto snapshot = snapshot_of(test::random_matrix(20, 4, 10));
  const std::vector<float> query(4, 1.0F), nan(4, std::numeric_limits<float>::quiet_NaN());
  SearchOptions options;
  expect_error(ErrorCode::kInvalidArgument, "without a snapshot",
               [&] { SearchCursor(nullptr, query, options); });
  expect_error(ErrorCode::kDimensionMismatch, "3 floats",
               [&] { SearchCursor(snapshot, std::span(query).first(3), options); });
  expect_error(ErrorCode::kNonFinite, "query", [&] { SearchCursor(snapshot, nan, options); });
  options.ef = 0;
  expect_error(ErrorCode::kInvalidArgument, "ef is 0",
               [&] { SearchCursor(snapshot, query, options); });
  SearchCursor cursor(snapshot, query, {});
  expect_error(ErrorCode::kInvalidArgument, "no results", [&] { cursor.next({}); });
}

}  // namespace
}  // namespace halo
